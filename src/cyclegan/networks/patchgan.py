"""Discriminators of patches: each logit scores the realism of its receptive field [C 4, P 3.2.2]."""

from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn

from cyclegan.config.schema import NetworkConfig
from cyclegan.networks.channels_last import Conv2d
from cyclegan.networks.discriminator import Discriminator
from cyclegan.networks.layers import NORMS, BlurDown, needs_bias, require_size
from cyclegan.networks.registry import register_discriminator


@register_discriminator("basic", "70×70 PatchGAN", layers=3)
@register_discriminator("n_layers", "{discriminator_layers}-layer PatchGAN")
class PatchGAN(Discriminator):
    """C64-C128-C256-C512 and one more convolution to a map of logits; patches of 70x70 pixels with three layers.

    (N, in_channels, H, W) to (N, 1, h, w) logits; 256x256 gives 30x30. `layers` is the number of stride-2
    convolutions; with `antialias` their stride is 1, and a blur follows that halves the resolution, as in [CUT].
    Raises `UsageError` for images smaller than `min_size`.
    """

    def __init__(
        self,
        in_channels: int = 3,
        *,
        width: int = 64,
        layers: int = 3,
        norm: str = "instance",
        antialias: bool = False,
    ):
        super().__init__()
        make_norm, bias = NORMS[norm], needs_bias(norm)
        widths = [width * min(2**n, 8) for n in range(layers + 1)]
        halving = 1 if antialias else 2
        body: list[nn.Module] = [
            Conv2d(in_channels, width, 4, stride=halving, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for n, (before, after) in enumerate(pairwise(widths), start=1):
            body += [BlurDown(before)] if antialias else []
            body += [
                Conv2d(before, after, 4, stride=halving if n < layers else 1, padding=1, bias=bias),
                make_norm(after),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        self.body = nn.Sequential(*body, Conv2d(widths[-1], 1, 4, padding=1))
        # Each of the two stride-1 convolutions takes one pixel, and instance norm before the last needs 2x2.
        self.min_size = 2**layers * 3

    @classmethod
    def from_config(cls, config: NetworkConfig, in_channels: int, **settings: Any) -> Self:
        """Build the network."""
        own = {"layers": config.discriminator_layers, "antialias": config.antialias}
        return super().from_config(config, in_channels, **(own | settings))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch; see the class for shapes."""
        require_size(x, self.min_size, "The discriminator")
        y: Tensor = self.body(x)
        return y


@register_discriminator("dual", "70×70 and 16×16 PatchGANs")
class DualPatchGAN(Discriminator):
    """Two PatchGANs of three layers and of one: 70x70 patches for composition, 16x16 for how edges and texture look.

    (N, in_channels, H, W) to (N, 2, h, w) logits at the resolution of the finer one, so that both weigh the same in a
    mean. Like the discriminators at several scales of pix2pixHD (Wang et al., CVPR 2018, section 3.2), but the coarse
    one sees the full resolution.
    """

    def __init__(self, in_channels: int = 3, **settings: Any):
        super().__init__()
        self.coarse, self.fine = (PatchGAN(in_channels, layers=layers, **settings) for layers in (3, 1))
        self.min_size = self.coarse.min_size

    @classmethod
    def from_config(cls, config: NetworkConfig, in_channels: int, **settings: Any) -> Self:
        """Build the network."""
        return super().from_config(config, in_channels, **({"antialias": config.antialias} | settings))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch; see the class for shapes."""
        coarse, fine = self.coarse(x), self.fine(x)
        return torch.cat([nn.functional.interpolate(coarse, fine.shape[-2:]), fine], 1)


@register_discriminator("pixel", "PixelGAN")
class PixelGAN(Discriminator):
    """The 1x1 PatchGAN, which sees each pixel's color alone [P 4.4]. (N, in_channels, H, W) to (N, 1, H, W) logits."""

    def __init__(self, in_channels: int = 3, *, width: int = 64, norm: str = "instance"):
        super().__init__()
        bias = needs_bias(norm)
        self.body = nn.Sequential(
            Conv2d(in_channels, width, 1),
            nn.LeakyReLU(0.2, inplace=True),
            Conv2d(width, 2 * width, 1, bias=bias),
            NORMS[norm](2 * width),
            nn.LeakyReLU(0.2, inplace=True),
            Conv2d(2 * width, 1, 1, bias=bias),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch; see the class for shapes."""
        y: Tensor = self.body(x)
        return y
