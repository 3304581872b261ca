"""The generator of pix2pix: an encoder and a decoder with a connection at every level (Isola et al. 2017, 6.1.1)."""

import torch
from torch import Tensor, nn

from cyclegan.networks.layers import NORMS, Dropout, needs_bias, reflect_to_multiple


class UNetLevel(nn.Module):
    """One level: halve, go deeper, double, and put the input beside the result (except at the outermost level)."""

    def __init__(
        self,
        outer: int,
        inner: int,
        deeper: nn.Module | None,
        *,
        norm: str,
        in_channels: int | None = None,
        dropout: bool = False,
    ):
        super().__init__()
        make_norm, bias = NORMS[norm], needs_bias(norm)
        outermost, innermost = in_channels is not None, deeper is None
        down = nn.Conv2d(in_channels or outer, inner, 4, stride=2, padding=1, bias=bias)
        up_bias = True if outermost else bias
        up = nn.ConvTranspose2d(inner if innermost else 2 * inner, outer, 4, stride=2, padding=1, bias=up_bias)
        self.down = nn.Sequential(
            nn.Identity() if outermost else nn.LeakyReLU(0.2),
            down,
            nn.Identity() if outermost or innermost else make_norm(inner),
        )
        self.deeper = deeper if deeper is not None else nn.Identity()
        self.up = nn.Sequential(
            nn.ReLU(),
            up,
            nn.Tanh() if outermost else make_norm(outer),
            Dropout(0.5) if dropout else nn.Identity(),
        )
        self.skip = not outermost

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, 2C, H, W); the outermost level to (N, out_channels, H, W)."""
        y = self.up(self.deeper(self.down(x)))
        return torch.cat([x, y], 1) if self.skip else y


class UNetGenerator(nn.Module):
    """`levels` halvings of the resolution: 8 for 256x256 images, 7 for 128x128, 6 for 64x64.

    Takes (N, in_channels, H, W) in [-1, 1] of any H and W, returns (N, out_channels, H, W) in [-1, 1]. Sizes that
    are no multiple of 2^levels are extended by reflection and cut back. With instance norm a level of 1x1 has no
    statistics, so the innermost level has no norm and the next one sees at least 2x2.
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
        self.multiple = 2**levels
        widest = 8 * width
        level = UNetLevel(widest, widest, None, norm=norm)
        for _ in range(levels - 5):
            level = UNetLevel(widest, widest, level, norm=norm, dropout=dropout)
        for outer in (4 * width, 2 * width, width):
            level = UNetLevel(outer, 2 * outer, level, norm=norm)
        self.levels = UNetLevel(out_channels, width, level, norm=norm, in_channels=in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch; see the class for shapes and ranges."""
        height, width = x.shape[-2:]
        y: Tensor = self.levels(reflect_to_multiple(x, self.multiple, least=self.multiple))
        return y[..., :height, :width]
