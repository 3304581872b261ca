"""3x3 convolutions by Winograd's F(m x m, 3 x 3), kernels transformed once, strip by strip in the cache.

Columns and rows are transformed one after the other, as matrix products (Lavin and Gray 2016). F(8x8, 3x3) would take
a sixth of the products less, but rounds to 1e-3 of the result.
"""

import math

import torch
from numpy.polynomial.polynomial import polyfromroots
from torch import Tensor, nn

from cyclegan.networks.inference.pending import Pending
from cyclegan.networks.winograd import scratch

STRIP = 128  # tiles transformed and multiplied at once: at 256 channels at most 8.4 MB, twice
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # where polynomials are taken; small numbers round least


class WinogradConv:
    """A 3x3 convolution of one image with a border of one pixel, (H, W, C) to (H, W, O).

    By F(m x m, 3 x 3) [Lavin and Gray 4]: tiles and kernels transformed, products summed over channels, and back.
    """

    def __init__(self, conv: nn.Conv2d, *, reflect: bool, bias: bool):
        self.weight, self.shift = conv.weight, conv.bias if bias else None
        self.scale = None if self.shift is None else torch.ones_like(self.shift)
        self.reflect = reflect
        self.ways: dict[int, Way] = {}

    def __call__(self, x: Pending) -> Pending:
        """Convolve; see the class for shapes."""
        height, width = x.values.shape[:2]
        m = best_step(height, width)
        if m not in self.ways:
            self.ways[m] = Way(m, self.weight)
        rows, columns = -(-height // m), -(-width // m)
        sheet = x.bordered(1, self.reflect, m * rows + 2, m * columns + 2)
        y = scratch.take("values", (height, width, len(self.weight)), sheet.dtype)
        strip = max(1, STRIP // columns)
        for first in range(0, rows, strip):
            part = sheet[m * first : m * min(rows, first + strip) + 2]
            _place(self.ways[m].blocks(part), y[m * first : m * (first + strip)])
        return Pending(y, self.scale, self.shift)


def _place(blocks: Tensor, out: Tensor) -> None:
    """(rows, m, columns, m, O) into (H, W, O), without what reaches over the right and lower border."""
    m, (height, width) = blocks.shape[1], out.shape[:2]
    bottom, right = height // m * m, width // m * m  # of the whole blocks
    for top, end, h in ((0, bottom, m), (bottom, height, height - bottom)):
        for left, last, w in ((0, right, m), (right, width, width - right)):
            if top < end and left < last:
                shape = (end - top) // h, h, (last - left) // w, w, out.shape[2]
                whole = blocks[top // m :, :h, left // m :, :w]
                out[top:end, left:last].view(shape).copy_(whole[: shape[0], :, : shape[2]])


def best_step(height: int, width: int) -> int:
    """The m of F(m x m, 3 x 3) with clearly fewer products for an image of that size; 4 rounds less than 6."""
    products = {m: (m + 2) ** 2 * -(-height // m) * -(-width // m) for m in (4, 6)}
    return 6 if products[6] < 0.9 * products[4] else 4


class Way:
    """F(m x m, 3 x 3) with one kernel (O, C, 3, 3), transformed once."""

    def __init__(self, m: int, weight: Tensor):
        self.m, self.tile = m, m + 2
        image, kernel, result = matrices(m)
        self.of_image, self.of_result = image.to(weight.dtype), result.to(weight.dtype)
        turned = weight.permute(3, 2, 1, 0).reshape(9, -1)  # columns first, as the tiles are transformed
        transformed = torch.kron(kernel, kernel).to(weight.dtype) @ turned
        self.kernel = transformed.view(-1, weight.shape[1], weight.shape[0])

    def blocks(self, sheet: Tensor) -> Tensor:
        """(m rows + 2, m columns + 2, C) to (rows, m, columns, m, O), in scratch memory."""
        image, rows, columns = self._transformed(sheet)
        tiles, outputs = rows * columns, self.kernel.shape[2]
        product = scratch.take("tiles", (self.tile, self.tile * tiles * outputs), sheet.dtype)
        torch.bmm(image, self.kernel, out=product.view(-1, tiles, outputs))
        across = scratch.take("image", (self.m, self.tile, tiles * outputs), sheet.dtype)
        torch.mm(self.of_result, product, out=across.flatten(1))
        blocks = scratch.take("tiles", (self.m, self.m, rows, columns, outputs), sheet.dtype)
        torch.bmm(self.of_result.expand(self.m, -1, -1), across, out=blocks.flatten(2))
        return blocks.permute(2, 1, 3, 0, 4)

    def _transformed(self, sheet: Tensor) -> tuple[Tensor, int, int]:
        """(m rows + 2, m columns + 2, C) to (products, tiles, C) in scratch memory; and rows and columns of tiles."""
        tile, channels = self.tile, sheet.shape[2]
        rows, columns = ((side - 2) // self.m for side in sheet.shape[:2])
        bands = scratch.take("image", (tile, rows, *sheet.shape[1:]), sheet.dtype)
        for row in range(rows):
            pixels = sheet[self.m * row : self.m * row + tile]
            torch.mm(self.of_image, pixels.flatten(1), out=bands[:, row].flatten(1))
        tiles = scratch.take("tiles", (tile, tile, rows, columns, channels), sheet.dtype)
        tiles.copy_(bands.unfold(2, tile, self.m).permute(4, 0, 1, 2, 3))
        image = scratch.take("image", (tile, tile * rows * columns * channels), sheet.dtype)
        torch.mm(self.of_image, tiles.flatten(1), out=image)
        return image.view(tile * tile, rows * columns, channels), rows, columns


def matrices(m: int) -> tuple[Tensor, Tensor, Tensor]:
    """The transforms of F(m, 3): of image (m + 2, m + 2), kernel (m + 2, 3) and result (m, m + 2), double precision.

    Cook and Toom's algorithm, transposed: polynomials known at m + 1 points and at infinity [Lavin and Gray 4].
    """
    points = POINTS[: m + 1]
    image, kernel, result = (torch.zeros(m + 2, n, dtype=torch.float64) for n in (m + 2, 3, m))
    for row, point in enumerate(points):
        others = [p for p in points if p != point]
        image[row, : m + 1] = torch.from_numpy(polyfromroots(others))
        kernel[row] = torch.tensor([point**k for k in range(3)]) / math.prod(point - p for p in others)
        result[row] = torch.tensor([point**k for k in range(m)])
    image[-1] = torch.from_numpy(polyfromroots(points))
    kernel[-1, -1] = result[-1, -1] = 1
    return image, kernel, result.T.contiguous()
