"""3x3 convolutions by Winograd's F(m x n, 3 x 3), with kernels transformed once, strip by strip in the cache.

Rows and columns are transformed one after the other, as matrix products (Lavin and Gray 2016), and may have different
steps: 8 along one side needs a tenth fewer products than 6 along both, and doubles the rounding error. Along both sides
it would be five times as large.
"""

import math
from itertools import product

import torch
from torch import Tensor, nn

from cyclegan.networks.cpu.fused import DeferredEpilogue
from cyclegan.networks.winograd import POINTS, matrices, scratch

STRIP = 128  # tiles transformed and multiplied at once: at 256 channels at most 10.5 MB, twice


class WinogradConv:
    """A 3x3 convolution of one image with a border of one pixel, (H, W, C) to (H, W, O).

    By F(m x n, 3 x 3) [Lavin and Gray 4]: tiles and kernels are transformed, multiplied and summed over channels, and
    transformed back.
    """

    def __init__(self, conv: nn.Conv2d, *, reflect: bool, bias: bool):
        self.weight, self.shift = conv.weight, conv.bias if bias else None
        self.scale = None if self.shift is None else torch.ones_like(self.shift)
        self.reflect = reflect
        self.plans: dict[tuple[int, int], WinogradPlan] = {}

    def __call__(self, x: DeferredEpilogue) -> DeferredEpilogue:
        """Convolve; see the class for shapes."""
        height, width = x.values.shape[:2]
        steps = best_steps(height, width)
        if steps not in self.plans:
            self.plans[steps] = WinogradPlan(steps, self.weight)
        m, n = steps
        rows, columns = -(-height // m), -(-width // n)
        sheet = x.padded(1, self.reflect, m * rows + 2, n * columns + 2)
        y = scratch.take("values", (height, width, len(self.weight)), sheet.dtype)
        strip = max(1, STRIP // columns)
        for first in range(0, rows, strip):
            part = sheet[m * first : m * min(rows, first + strip) + 2]
            _copy_blocks(self.plans[steps].blocks(part), y[m * first : m * (first + strip)])
        return DeferredEpilogue(y, self.scale, self.shift)


def _copy_blocks(blocks: Tensor, out: Tensor) -> None:
    """(rows, m, columns, n, O) into (H, W, O), cropped at the right and lower border."""
    (_, m, _, n, _), (height, width) = blocks.shape, out.shape[:2]
    bottom, right = height // m * m, width // n * n  # of the whole blocks
    for top, end, h in ((0, bottom, m), (bottom, height, height - bottom)):
        for left, last, w in ((0, right, n), (right, width, width - right)):
            if top < end and left < last:
                shape = (end - top) // h, h, (last - left) // w, w, out.shape[2]
                whole = blocks[top // m :, :h, left // n :, :w]
                out[top:end, left:last].view(shape).copy_(whole[: shape[0], :, : shape[2]])


def best_steps(height: int, width: int) -> tuple[int, int]:
    """The steps m and n of F(m x n, 3 x 3) with the fewest products for an image of that size, except 8 along both.

    Ties are broken by small steps, whose rounding errors are smaller, then by a larger m, which needs fewer rows.
    """

    def cost(steps: tuple[int, int]) -> tuple[int, int, int]:
        products = math.prod((m + 2) * -(-side // m) for side, m in zip((height, width), steps, strict=True))
        return products, sum(steps), -steps[0]

    return min(((m, n) for m, n in product(POINTS, POINTS) if (m, n) != (8, 8)), key=cost)


class WinogradPlan:
    """F(m x n, 3 x 3) for a kernel (O, C, 3, 3), transformed once: m rows and n columns per tile."""

    def __init__(self, steps: tuple[int, int], weight: Tensor):
        self.steps = steps
        (down, kernel_down, result_down), (across, kernel_across, result_across) = map(matrices, steps)
        self.down, self.across = down.to(weight.dtype), across.to(weight.dtype)
        self.result_down, self.result_across = result_down.to(weight.dtype), result_across.to(weight.dtype)
        turned = weight.permute(3, 2, 1, 0).reshape(9, -1)  # columns first, as the tiles are transformed
        transformed = torch.kron(kernel_across, kernel_down).to(weight.dtype) @ turned
        self.kernel = transformed.view(-1, weight.shape[1], weight.shape[0])

    def blocks(self, sheet: Tensor) -> Tensor:
        """(m rows + 2, n columns + 2, C) to (rows, m, columns, n, O), in scratch memory."""
        image, rows, columns = self._transformed(sheet)
        tiles, outputs = rows * columns, self.kernel.shape[2]
        (m, n), (high, wide) = self.steps, (len(self.down), len(self.across))
        products = scratch.take("tiles", (wide, high * tiles * outputs), sheet.dtype)
        torch.bmm(image, self.kernel, out=products.view(-1, tiles, outputs))
        halfway = scratch.take("image", (n, high, tiles * outputs), sheet.dtype)
        torch.mm(self.result_across, products, out=halfway.flatten(1))
        blocks = scratch.take("tiles", (n, m, rows, columns, outputs), sheet.dtype)
        torch.bmm(self.result_down.expand(n, -1, -1), halfway, out=blocks.flatten(2))
        return blocks.permute(2, 1, 3, 0, 4)

    def _transformed(self, sheet: Tensor) -> tuple[Tensor, int, int]:
        """(m rows + 2, n columns + 2, C) to (products, tiles, C) in scratch memory; and rows and columns of tiles."""
        (m, n), (high, wide), channels = self.steps, (len(self.down), len(self.across)), sheet.shape[2]
        rows, columns = (sheet.shape[0] - 2) // m, (sheet.shape[1] - 2) // n
        bands = scratch.take("image", (high, rows, *sheet.shape[1:]), sheet.dtype)
        for row in range(rows):
            pixels = sheet[m * row : m * row + high]
            torch.mm(self.down, pixels.flatten(1), out=bands[:, row].flatten(1))
        tiles = scratch.take("tiles", (wide, high, rows, columns, channels), sheet.dtype)
        tiles.copy_(bands.unfold(2, wide, n).permute(4, 0, 1, 2, 3))
        image = scratch.take("image", (wide, high * rows * columns * channels), sheet.dtype)
        torch.mm(self.across, tiles.flatten(1), out=image)
        return image.view(wide * high, rows * columns, channels), rows, columns
