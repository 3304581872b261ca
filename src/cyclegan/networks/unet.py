"""The U-Net generator of pix2pix (Isola et al. 2017, 6.1.1) [P]."""

from collections.abc import Sequence

from torch import nn

from cyclegan.networks.channels_last import Conv2d, ConvTranspose2d
from cyclegan.networks.generator import Generator
from cyclegan.networks.layers import NORMS, Dropout, UNetLevel, needs_bias
from cyclegan.networks.registry import register_generator


@register_generator("unet_256", "8-level U-Net", levels=8)
@register_generator("unet_128", "7-level U-Net", levels=7)
@register_generator("unet_64", "6-level U-Net", levels=6)
class UNetGenerator(Generator):
    """`levels` halvings of the resolution: 8 for 256x256 images, 7 for 128x128, 6 for 64x64.

    With instance norm a level of 1x1 has no statistics, so the innermost level has no norm and the next one sees at
    least 2x2.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        levels: int = 8,
        width: int = 64,
        norm: str = "batch",
        dropout: bool = False,
    ):
        super().__init__()
        self.size_multiple = self.min_size = 2**levels
        widest = 8 * width
        level = _level(widest, widest, None, norm=norm)
        for _ in range(levels - 5):
            level = _level(widest, widest, level, norm=norm, dropout=dropout)
        for outer in (4 * width, 2 * width, width):
            level = _level(outer, 2 * outer, level, norm=norm)
        self.levels = _level(out_channels, width, level, norm=norm, in_channels=in_channels)

    def stages(self) -> Sequence[nn.Module]:
        """The outermost level, which holds all others."""
        return [self.levels]


def _level(
    outer: int,
    inner: int,
    deeper: UNetLevel | None,
    *,
    norm: str,
    in_channels: int | None = None,
    dropout: bool = False,
) -> UNetLevel:
    """One level; the outermost is given `in_channels`, the innermost has nothing `deeper`."""
    make_norm, bias = NORMS[norm], needs_bias(norm)
    outermost, innermost = in_channels is not None, deeper is None
    down = Conv2d(in_channels or outer, inner, 4, stride=2, padding=1, bias=bias)
    up_bias = True if outermost else bias
    up = ConvTranspose2d(inner if innermost else 2 * inner, outer, 4, stride=2, padding=1, bias=up_bias)
    return UNetLevel(
        down=nn.Sequential(
            nn.Identity() if outermost else nn.LeakyReLU(0.2),
            down,
            nn.Identity() if outermost or innermost else make_norm(inner),
        ),
        deeper=deeper if deeper is not None else nn.Identity(),
        up=nn.Sequential(
            nn.ReLU(),
            up,
            nn.Tanh() if outermost else make_norm(outer),
            Dropout(0.5) if dropout else nn.Identity(),
        ),
        skip=not outermost,
    )
