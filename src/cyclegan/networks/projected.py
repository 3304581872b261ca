"""A discriminator on features of a frozen classifier: "Projected GANs Converge Faster" (Sauer et al., NeurIPS 2021).

What tells the coat of a zebra from that of a horse is known to a network that was trained to classify photographs, and
need not be learned from a few hundred images. As in the paper, fixed random convolutions mix the channels (3.1, CCM)
and then the levels (CSM), so that a discriminator cannot rely on a few features. Unlike there, it judges patches, in
addition to those of a shallow PatchGAN at full resolution, and images keep their size.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, linear, pad, relu6
from torch.nn.utils import fuse_conv_bn_eval
from torch.nn.utils.parametrizations import spectral_norm

from cyclegan.config.schema import NetworkConfig
from cyclegan.errors import UsageError
from cyclegan.metrics.features import efficientnet
from cyclegan.networks.channels_last import Conv2d, computes_on_cpu, is_channels_last
from cyclegan.networks.discriminator import Discriminator
from cyclegan.networks.layers import require_size
from cyclegan.networks.patchgan import PatchGAN
from cyclegan.networks.registry import register_discriminator

# Channels of the last block at 1/4, 1/8, 1/16 and 1/32 of the resolution, and the standard deviation of its features
# in photographs, icons and drawings.
LEVELS = {24: 11.0, 40: 9.5, 112: 7.6, 320: 3.0}


@register_discriminator("projected", "projected discriminator and 16×16 PatchGAN")
class ProjectedDiscriminator(Discriminator):
    """Scores the features of EfficientNet-Lite1 at four levels, and patches of 16x16 pixels.

    (N, 1 or 3, H, W) to (N, 5, h, w) logits at the resolution of the PatchGAN's, so that all five weigh the same in a
    mean. The classifier is neither trained nor saved with the weights; it is read from the package that holds it.
    Raises `UsageError` when that is not installed, and for images of other channels or smaller than `min_size`.
    """

    min_size = 32

    def __init__(self, in_channels: int = 3, *, width: int = 64, norm: str = "instance", antialias: bool = False):
        super().__init__()
        if in_channels not in (1, 3):
            raise UsageError(
                f"--discriminator projected judges gray or RGB images, not {in_channels} channels; choose another one."
            )
        self.features = FrozenFeatures()
        self.mixed_channels = nn.ModuleList(RandomProjection(c, width, 1, scale=1 / std) for c, std in LEVELS.items())
        self.mixed_levels = nn.ModuleList(RandomProjection(width, width, 3) for _ in range(len(LEVELS) - 1))
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(Conv2d(width, width, 3, padding=1)),
                nn.LeakyReLU(0.2, inplace=True),
                spectral_norm(Conv2d(width, 1, 3, padding=1)),
            )
            for _ in LEVELS
        )
        self.fine = PatchGAN(in_channels, width=width, layers=1, norm=norm, antialias=antialias)

    @classmethod
    def from_config(cls, config: NetworkConfig, in_channels: int, **settings: Any) -> Self:
        """Build the network."""
        return super().from_config(config, in_channels, **({"antialias": config.antialias} | settings))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch; see the class for shapes."""
        require_size(x, self.min_size, "The discriminator")
        fine = self.fine(x)
        levels = [mix(y) for mix, y in zip(self.mixed_channels, self.features(x), strict=True)]
        for i, mix in reversed(list(enumerate(self.mixed_levels))):  # from coarse to fine
            above = interpolate(mix(levels[i + 1]), levels[i].shape[-2:], mode="bilinear", align_corners=False)
            levels[i] = (levels[i] + above) / 2**0.5
        logits = (head(level) for head, level in zip(self.heads, levels, strict=True))
        return torch.cat([fine, *(interpolate(each, fine.shape[-2:]) for each in logits)], 1)


class FrozenFeatures(nn.Module):
    """EfficientNet-Lite1 without its classifier, its batch norms folded into the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        network = efficientnet(1)
        self.stem = FrozenConv(network._conv_stem, network._bn0)
        blocks = list(network._blocks)
        last = {block._project_conv.out_channels: i for i, block in enumerate(blocks)}
        self.taken = [last[channels] for channels in LEVELS]
        self.blocks = nn.ModuleList(InvertedBottleneck(block) for block in blocks[: self.taken[-1] + 1])

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 1 or 3, H, W) images in [-1, 1] to the maps (N, C, h, w) of each level."""
        y = relu6(self.stem(x.expand(-1, 3, -1, -1)), inplace=True)
        found = []
        for i, block in enumerate(self.blocks):
            y = block(y)
            if i in self.taken:
                found.append(y)
        return found


class InvertedBottleneck(nn.Module):
    """A block of MobileNetV2 (Sandler et al., CVPR 2018): expand, filter each channel, project; with a shortcut."""

    def __init__(self, block: Any):
        super().__init__()
        expand = [(block._expand_conv, block._bn0)] if hasattr(block, "_expand_conv") else []
        self.filters = nn.ModuleList(FrozenConv(*pair) for pair in [*expand, (block._depthwise_conv, block._bn1)])
        self.project = FrozenConv(block._project_conv, block._bn2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W), or half of that resolution."""
        y = x
        for convolution in self.filters:
            y = relu6(convolution(y), inplace=True)
        y = self.project(y)
        return x + y if x.shape == y.shape else y


class FrozenConv(nn.Module):
    """A convolution with its batch norm, neither trained nor saved, padded as by TensorFlow's "SAME"."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, convolution: nn.Conv2d, norm: nn.BatchNorm2d):
        super().__init__()
        fused = fuse_conv_bn_eval(convolution, norm)
        self.register_buffer("weight", fused.weight.detach(), persistent=False)
        self.register_buffer("bias", None if fused.bias is None else fused.bias.detach(), persistent=False)
        self.stride, self.groups = fused.stride[0], fused.groups

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H / stride, W / stride), rounded up."""
        size = self.weight.shape[-1]
        if size == self.stride == self.groups == 1 and computes_on_cpu(x, self.weight) and is_channels_last(x):
            # PyTorch has a slow path for one small image.
            return linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
        if self.stride == 1:
            return conv2d(x, self.weight, self.bias, padding=size // 2, groups=self.groups)
        padding = []
        for side in (x.shape[-1], x.shape[-2]):
            total = max(0, (-(-side // self.stride) - 1) * self.stride + size - side)
            padding += [total // 2, total - total // 2]
        return conv2d(pad(x, padding), self.weight, self.bias, self.stride, groups=self.groups)


class RandomProjection(nn.Module):
    """A convolution with random weights that are saved, but not trained; it keeps the variance of its input."""

    weight: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel: int, scale: float = 1.0):
        super().__init__()
        weight = torch.empty(out_channels, in_channels, kernel, kernel)
        self.register_buffer("weight", nn.init.kaiming_normal_(weight, nonlinearity="linear") * scale)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        return conv2d(x, self.weight, padding="same")
