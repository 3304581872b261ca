"""Generators at half or a quarter of the resolution, light and quickly trained: space to depth, blocks, depth to space.

Sub-pixel convolution: Shi et al., CVPR 2016, eq. 4. Its initialization (ICNR): Aitken et al. 2017, section 3. Residual
branches that start small, with a learned scale: Zhang et al., "Fixup Initialization", ICLR 2019.
"""

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn

from cyclegan.config.schema import NetworkConfig
from cyclegan.networks.generator import Generator
from cyclegan.networks.layers import NORMS, ChannelScale, Dropout, Residual, needs_bias
from cyclegan.networks.registry import register_generator
from cyclegan.networks.winograd import Conv3x3


@register_generator("space_to_depth", "{blocks}-block space-to-depth network")
@register_generator("space_to_depth_photo", "{blocks}-block space-to-depth network that sees colors", stem_norm=False)
@register_generator("space_to_depth_4", "{blocks}-block space-to-depth network of 4×4 pixels", factor=4)
class SpaceToDepthGenerator(Generator):
    """Each block of `factor` x `factor` pixels becomes the channels of one, which loses nothing; all convolutions run
    on those.

    A block is x + g * conv(ReLU(norm(conv(x)))), with a learned scale g for each channel. It has one norm where the
    paper's has two: the second would remove the contrast of what the block adds. Without `stem_norm`, the blocks see
    the brightness and contrast of the image, which a norm would remove: a dusk stays a dusk. Without `bounded`, the
    output is that of the last convolution.
    """

    initializes_itself = True

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        factor: int = 2,
        width: int = 32,
        blocks: int = 4,
        norm: str = "instance",
        stem_norm: bool = True,
        bounded: bool = True,
        dropout: bool = False,
    ):
        super().__init__()
        make_norm, bias, pixels = NORMS[norm], needs_bias(norm), factor**2
        self.size_multiple = factor
        self.min_size = 2 * factor  # reflecting a border of one pixel takes two, at the lower resolution

        def conv(before: int, after: int, bias: bool = True) -> list[nn.Module]:
            return [nn.ReflectionPad2d(1), Conv3x3(before, after, bias=bias)]

        def block() -> Residual:
            middle = [make_norm(width), nn.ReLU(inplace=True), Dropout(0.5) if dropout else nn.Identity()]
            return Residual(*conv(width, width, bias), *middle, *conv(width, width), ChannelScale(width))

        first = [
            nn.PixelUnshuffle(factor),
            *conv(pixels * in_channels, width, bias or not stem_norm),
            make_norm(width) if stem_norm else nn.Identity(),
            nn.ReLU(inplace=True),
        ]
        self.stem = nn.Sequential(*first)
        self.blocks = nn.Sequential(*(block() for _ in range(blocks)))
        end = [nn.Tanh()] if bounded else []
        self.head = nn.Sequential(*conv(width, pixels * out_channels), nn.PixelShuffle(factor), *end)
        self._initialize(pixels)

    @torch.no_grad()
    def _initialize(self, pixels: int) -> None:
        """PyTorch's default, but residual branches start at a tenth, and the pixels of a block equal (ICNR)."""
        block: Any
        for block in self.blocks:
            block.body[-2].weight.mul_(0.1)
        last: Any = self.head[1]
        last.weight.copy_(last.weight[::pixels].repeat_interleave(pixels, 0))
        last.bias.zero_()

    @classmethod
    def from_config(cls, config: NetworkConfig, in_channels: int, out_channels: int, **settings: Any) -> Self:
        """Build the network."""
        return super().from_config(config, in_channels, out_channels, **({"blocks": config.blocks} | settings))

    @torch.no_grad()
    def zero_outputs(self, first: int) -> None:
        """Let the output's channels from `first` on start at 0."""
        last: Any = self.head[1]
        last.weight[first * self.size_multiple**2 :] = 0

    def stages(self) -> Sequence[nn.Module]:
        """To the lower resolution, the blocks, and back."""
        return [self.stem, self.blocks, self.head]

    def encoder(self) -> Sequence[nn.Module]:
        """The five layers of the stem, the first of which is the image itself, and the residual blocks."""
        return [*self.stem, *self.blocks]
