"""The generator of the paper: Johnson et al. 2016, with residual blocks at a quarter of the resolution [C 7.2]."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from cyclegan.networks.layers import NORMS, BlurDown, BlurUp, Dropout, MakeNorm, needs_bias, reflect_to_multiple
from cyclegan.networks.winograd import Conv3x3


class ResidualBlock(nn.Module):
    """x + norm(conv(ReLU(norm(conv(x))))), 3x3 convolutions on reflected borders, no ReLU after the sum."""

    def __init__(self, channels: int, norm: MakeNorm, bias: bool, dropout: bool):
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            Conv3x3(channels, channels, bias=bias),
            norm(channels),
            nn.ReLU(inplace=True),
            Dropout(0.5) if dropout else nn.Identity(),
            nn.ReflectionPad2d(1),
            Conv3x3(channels, channels, bias=bias),
            norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + self.body(x)


class SeparableResidualBlock(nn.Module):
    """The residual block with each 3x3 convolution split into a depthwise and a pointwise one (Howard et al. 2017).

    About an eighth of the arithmetic of `ResidualBlock`.
    """

    def __init__(self, channels: int, norm: MakeNorm, bias: bool, dropout: bool):
        super().__init__()
        self.body = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, groups=channels, bias=bias),
            nn.Conv2d(channels, channels, 1, bias=bias),
            norm(channels),
            nn.ReLU(inplace=True),
            Dropout(0.5) if dropout else nn.Identity(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, groups=channels, bias=bias),
            nn.Conv2d(channels, channels, 1, bias=bias),
            norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x + self.body(x)


class ResNetGenerator(nn.Module):
    """c7s1-64, d128, d256, R256 x blocks, u128, u64, c7s1-3, tanh: the paper's notation [C 7.2].

    Takes (N, in_channels, H, W) in [-1, 1] of any H and W, returns (N, out_channels, H, W) in [-1, 1]. Sizes that
    are no multiple of 4 are extended by reflection and cut back; those smaller than 8 are extended to 8. `antialias`
    blurs where the resolution is halved or doubled (Zhang 2019, as in [CUT]), which leaves no checkerboard.
    """

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
        block: Callable[[int, MakeNorm, bool, bool], nn.Module] = ResidualBlock,
    ):
        super().__init__()
        make_norm, bias = NORMS[norm], needs_bias(norm)
        down, up = (_down_blurred, _up_blurred) if antialias else (_down, _up)
        deep = 4 * width
        self.stem = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(in_channels, width, 7, bias=bias),
            make_norm(width),
            nn.ReLU(inplace=True),
        )
        self.down = nn.Sequential(*(down(c, make_norm, bias) for c in (width, 2 * width)))
        self.blocks = nn.Sequential(*(block(deep, make_norm, bias, dropout) for _ in range(blocks)))
        self.up = nn.Sequential(*(up(c, make_norm, bias) for c in (deep, 2 * width)))
        self.head = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, out_channels, 7), nn.Tanh())

    def encoder(self) -> list[nn.Module]:
        """The layers up to the last residual block, counted as the authors of [CUT] count theirs."""
        return [*self.stem, *(layer for stage in self.down for layer in stage.children()), *self.blocks]

    def features(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """What the `layers` of the encoder, in rising order, make of a batch; 0 is the padded image itself."""
        y, found = reflect_to_multiple(x, multiple=4, least=8), []
        for number, layer in enumerate(self.encoder()[: layers[-1] + 1]):
            y = layer(y)
            if number in layers:
                found.append(y)
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch; see the class for shapes and ranges."""
        height, width = x.shape[-2:]
        y = reflect_to_multiple(x, multiple=4, least=8)
        y = self.head(self.up(self.blocks(self.down(self.stem(y)))))
        return y[..., :height, :width]


def _down(channels: int, norm: MakeNorm, bias: bool) -> nn.Module:
    conv = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=bias)
    return nn.Sequential(conv, norm(2 * channels), nn.ReLU(inplace=True))


def _up(channels: int, norm: MakeNorm, bias: bool) -> nn.Module:
    half = channels // 2
    conv = nn.ConvTranspose2d(channels, half, 3, stride=2, padding=1, output_padding=1, bias=bias)
    return nn.Sequential(conv, norm(half), nn.ReLU(inplace=True))


def _down_blurred(channels: int, norm: MakeNorm, bias: bool) -> nn.Module:
    conv = nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=bias)
    return nn.Sequential(conv, norm(2 * channels), nn.ReLU(inplace=True), BlurDown(2 * channels))


def _up_blurred(channels: int, norm: MakeNorm, bias: bool) -> nn.Module:
    conv = nn.Conv2d(channels, channels // 2, 3, padding=1, bias=bias)
    return nn.Sequential(BlurUp(channels), conv, norm(channels // 2), nn.ReLU(inplace=True))
