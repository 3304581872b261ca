"""Generators that decide where to change an image: learned masks, and what is outside of them stays as it is.

A network returns K contents c_k and K + 1 logits for each pixel, whose softmax gives a mask m_k to each content and a
mask m_0 to the input: G(x) = m_0 x + sum m_k c_k (Tang et al., "AttentionGAN", IJCNN 2019, section III-B, with K + 1
masks; for K = 1, Mejjati et al., NeurIPS 2018).
"""

from typing import Any, Self

import torch
from torch import Tensor, nn

from cyclegan.config.schema import NetworkConfig
from cyclegan.errors import UsageError
from cyclegan.networks.generator import ColorSpaceGenerator, Generator
from cyclegan.networks.registry import GENERATORS, register_generator

# The networks end in tanh, which is fine for contents but not for logits: the masks undo it, up to a mask of 0.0025 for
# K = 1. Smaller ones would leave the other contents without a gradient, and the generator a copy of its input for good.
LARGEST = 0.995


@register_generator("attention", "Attention ({attention_masks} masks) over a {blocks}-block space-to-depth network")
@register_generator(
    "attention_4",
    "Attention ({attention_masks} masks) over a {blocks}-block space-to-depth network of 4×4 pixels",
    network="space_to_depth_4",
)
@register_generator(
    "attention_resnet", "Attention ({attention_masks} masks) over a {blocks}-block ResNet", network="resnet"
)
class AttentionGenerator(ColorSpaceGenerator):
    """Images (N, C, H, W) in [-1, 1] to the same shape, by a network to K (C + 1) + 1 channels."""

    def __init__(self, network: Generator, channels: int, masks: int):
        super().__init__(network)
        self.in_channels = self.out_channels = channels
        self.count, self.initializes_itself = masks, network.initializes_itself

    @classmethod
    def from_config(
        cls,
        config: NetworkConfig,
        in_channels: int,
        out_channels: int,
        network: str = "space_to_depth",
        **settings: Any,
    ) -> Self:
        """Build it on a registered network. Raises `UsageError` for unequal channels."""
        if in_channels != out_channels:
            raise UsageError(
                f"--generator {config.generator} keeps parts of its input, which has {in_channels} channels and not "
                f"{out_channels}; set --channels-a and --channels-b to the same number, or use another --generator."
            )
        masks, architecture = config.attention_masks, GENERATORS[network]
        inner = masks * (in_channels + 1) + 1
        of = architecture.network.from_config(config, in_channels, inner, **architecture.settings | settings)
        return cls(of, in_channels, masks)

    def decode(self, x: Tensor, y: Tensor) -> Tensor:
        """The input where the masks keep it, and the contents elsewhere."""
        kept, *masks = torch.split(self.masks(y), 1, 1)
        contents = torch.split(y[:, self.count + 1 :].to(x), self.in_channels, 1)
        return sum((mask * content for mask, content in zip(masks, contents, strict=True)), kept * x)

    def masks(self, y: Tensor) -> Tensor:
        """The masks in the network's output, (N, K + 1, H, W) in [0, 1] with a sum of 1; the first is the input's."""
        return torch.softmax(torch.atanh(LARGEST * y[:, : self.count + 1].float()), 1)

    def encoder(self) -> list[nn.Module]:
        """The network's."""
        return [*self.network.encoder()]


class MaskGenerator(ColorSpaceGenerator):
    """What an attention generator changes: images to K masks (N, K, H, W), from -1, kept, to 1, replaced."""

    def __init__(self, attention: AttentionGenerator):
        super().__init__(attention.network)
        self.attention_masks = attention.masks
        self.in_channels, self.out_channels = attention.in_channels, attention.count

    def decode(self, x: Tensor, y: Tensor) -> Tensor:
        """The masks of the contents."""
        return self.attention_masks(y)[:, 1:] * 2 - 1
