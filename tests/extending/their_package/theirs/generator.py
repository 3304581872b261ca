"""A small generator: one halving of the resolution, residual blocks, and one doubling."""

from collections.abc import Sequence
from typing import Any, Self

from torch import nn

from cyclegan.config.schema import NetworkConfig
from cyclegan.networks.generator import Generator
from cyclegan.networks.layers import NORMS, Dropout, Residual, needs_bias
from cyclegan.networks.registry import register_generator
from cyclegan.networks.winograd import Conv3x3


@register_generator("shallow", "shallow {blocks}-block ResNet")
class ShallowResNet(Generator):
    """Images (N, in_channels, H, W) in [-1, 1] of any size to (N, out_channels, H, W) in [-1, 1]."""

    size_multiple = 2
    min_size = 4  # the residual blocks reflect a border of one pixel, which takes two at half the resolution

    def __init__(self, in_channels: int, out_channels: int, *, width: int, blocks: int, norm: str, dropout: bool):
        super().__init__()
        make_norm, bias, inner = NORMS[norm], needs_bias(norm), 2 * width

        def conv() -> list[nn.Module]:
            return [nn.ReflectionPad2d(1), Conv3x3(inner, inner, bias=bias), make_norm(inner)]

        def block() -> Residual:
            return Residual(*conv(), nn.ReLU(inplace=True), Dropout(0.5) if dropout else nn.Identity(), *conv())

        self.down = nn.Sequential(
            nn.Conv2d(in_channels, inner, 4, stride=2, padding=1, bias=bias), make_norm(inner), nn.ReLU(inplace=True)
        )
        self.blocks = nn.Sequential(*(block() for _ in range(blocks)))
        self.up = nn.Sequential(nn.ConvTranspose2d(inner, out_channels, 4, stride=2, padding=1), nn.Tanh())

    @classmethod
    def from_config(cls, config: NetworkConfig, in_channels: int, out_channels: int, **settings: Any) -> Self:
        """Build the network, with as many residual blocks as --blocks says."""
        return super().from_config(config, in_channels, out_channels, blocks=config.blocks, **settings)

    def stages(self) -> Sequence[nn.Module]:
        """The parts in order, of layers that can be streamed, rewritten for CPUs and exported."""
        return [self.down, self.blocks, self.up]
