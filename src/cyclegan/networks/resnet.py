"""The generator of the paper: Johnson et al. 2016, with residual blocks at a quarter of the resolution [C 7.2]."""

from collections.abc import Sequence
from typing import Any, Self

from torch import nn

from cyclegan.config.schema import NetworkConfig
from cyclegan.networks.channels_last import Conv2d, ConvTranspose2d
from cyclegan.networks.generator import Generator
from cyclegan.networks.layers import (
    NORMS,
    BlurDown,
    BlurUp,
    Dropout,
    MakeNorm,
    Residual,
    needs_bias,
)
from cyclegan.networks.registry import register_generator
from cyclegan.networks.winograd import Conv3x3


@register_generator("resnet_9blocks", "9-block ResNet", blocks=9)
@register_generator("resnet_6blocks", "6-block ResNet", blocks=6)
@register_generator("resnet", "{blocks}-block ResNet")
@register_generator("resnet_light", "Light {blocks}-block ResNet", separable=True)
class ResNetGenerator(Generator):
    """c7s1-64, d128, d256, R256 x blocks, u128, u64, c7s1-3, tanh: the paper's notation [C 7.2].

    `antialias` blurs where the resolution is halved or doubled (Zhang 2019, as in [CUT]), which avoids checkerboards.
    `separable` splits the 3x3 convolutions of the residual blocks (Howard et al. 2017): an eighth of the arithmetic.
    """

    size_multiple = 4  # two halvings
    min_size = 8  # the residual blocks reflect a border of one pixel, which takes two

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        width: int = 64,
        blocks: int = 9,
        norm: str = "instance",
        dropout: bool = False,
        antialias: bool = False,
        separable: bool = False,
    ):
        super().__init__()
        make_norm, bias = NORMS[norm], needs_bias(norm)
        deep = 4 * width
        self.stem = nn.Sequential(
            nn.ReflectionPad2d(3),
            Conv2d(in_channels, width, 7, bias=bias),
            make_norm(width),
            nn.ReLU(inplace=True),
        )
        self.down = nn.Sequential(*(_down(c, make_norm, bias, antialias) for c in (width, 2 * width)))
        self.blocks = nn.Sequential(*(_block(deep, make_norm, bias, dropout, separable) for _ in range(blocks)))
        self.up = nn.Sequential(*(_up(c, make_norm, bias, antialias) for c in (deep, 2 * width)))
        self.head = nn.Sequential(nn.ReflectionPad2d(3), Conv2d(width, out_channels, 7), nn.Tanh())

    @classmethod
    def from_config(cls, config: NetworkConfig, in_channels: int, out_channels: int, **settings: Any) -> Self:
        """Build the network."""
        own = {"blocks": config.blocks, "antialias": config.antialias}
        return super().from_config(config, in_channels, out_channels, **(own | settings))

    def stages(self) -> Sequence[nn.Module]:
        """From the input's resolution to a quarter of it, and back."""
        return [self.stem, self.down, self.blocks, self.up, self.head]

    def encoder(self) -> Sequence[nn.Module]:
        """The layers up to the last residual block, numbered as in the code of [CUT]."""
        return [*self.stem, *(layer for stage in self.down for layer in stage.children()), *self.blocks]


def _block(channels: int, norm: MakeNorm, bias: bool, dropout: bool, separable: bool) -> Residual:
    """3x3 convolutions on reflected borders, and no ReLU after the sum."""

    def conv() -> list[nn.Module]:
        if not separable:
            return [Conv3x3(channels, channels, bias=bias)]
        return [
            nn.Conv2d(channels, channels, 3, groups=channels, bias=bias),
            Conv2d(channels, channels, 1, bias=bias),
        ]

    middle = [norm(channels), nn.ReLU(inplace=True), Dropout(0.5) if dropout else nn.Identity()]
    return Residual(nn.ReflectionPad2d(1), *conv(), *middle, nn.ReflectionPad2d(1), *conv(), norm(channels))


def _down(channels: int, norm: MakeNorm, bias: bool, antialias: bool) -> nn.Module:
    conv = Conv2d(channels, 2 * channels, 3, stride=1 if antialias else 2, padding=1, bias=bias)
    blur = [BlurDown(2 * channels)] if antialias else []
    return nn.Sequential(conv, norm(2 * channels), nn.ReLU(inplace=True), *blur)


def _up(channels: int, norm: MakeNorm, bias: bool, antialias: bool) -> nn.Module:
    half = channels // 2
    if antialias:
        layers = [BlurUp(channels), Conv2d(channels, half, 3, padding=1, bias=bias)]
    else:
        layers = [ConvTranspose2d(channels, half, 3, stride=2, padding=1, output_padding=1, bias=bias)]
    return nn.Sequential(*layers, norm(half), nn.ReLU(inplace=True))
