"""3x3 convolutions on CPUs by Winograd's F(4x4, 3x3): a quarter of the multiplications (Lavin and Gray 2016).

An image is divided into tiles of 6x6 pixels, four apart; tiles and kernels are transformed, multiplied as 36 matrix
products, and transformed back to 4x4 pixels of the result. Gradients are computed by the transposed steps, so that
training gains as much as inference. The rounding error grows about tenfold: to 1e-5 of the largest output in float32.
"""

import math
import threading
from collections.abc import Sequence
from typing import Any

import torch
from numpy.polynomial.polynomial import polyfromroots
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from cyclegan.networks.channels_last import Conv2d, computes_on_cpu, is_channels_last

TILE, STEP = 6, 4  # pixels of a tile's side, and between tiles
MIN_CHANNELS = 128  # with fewer, the transforms cost more than the products save

# Interpolation points by step: numbers near 1, together with their inverses, give the smallest rounding errors.
POINTS = {
    4: (0.0, 1.0, -1.0, 2.0, -2.0),
    6: (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5),
    8: (0.0, 0.4, -0.4, 0.8, -0.8, 1.25, -1.25, 2.5, -2.5),
}


def matrices(m: int) -> tuple[Tensor, Tensor, Tensor]:
    """The transforms of F(m, 3): of image (m + 2, m + 2), kernel (m + 2, 3) and result (m, m + 2), in float64.

    Cook and Toom's algorithm, transposed: polynomials are interpolated at m + 1 points and infinity [Lavin and Gray 4].
    """
    points = POINTS[m]
    image, kernel, result = (torch.zeros(m + 2, n, dtype=torch.float64) for n in (m + 2, 3, m))
    powers = torch.tensor(points, dtype=torch.float64)[:, None] ** torch.arange(m)
    for row, point in enumerate(points):
        others = [p for p in points if p != point]
        image[row, : m + 1] = torch.from_numpy(polyfromroots(others))
        kernel[row] = powers[row, :3] / math.prod(point - p for p in others)
        result[row] = powers[row]
    image[-1] = torch.from_numpy(polyfromroots(points))
    kernel[-1, -1] = result[-1, -1] = 1
    return image, kernel, result.T.contiguous()


# For rows and columns at once, of flattened tiles: 36 x 36, 36 x 9 and 16 x 36.
IMAGE, KERNEL, RESULT = (torch.kron(matrix, matrix) for matrix in matrices(STEP))


class Conv3x3(Conv2d):
    """A 3x3 convolution of stride 1 without padding, by Winograd's algorithm if `winograd` is set and it is faster.

    (N, C, H, W) to (N, out_channels, H - 2, W - 2). Weights are those of `torch.nn.Conv2d`.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True):
        super().__init__(in_channels, out_channels, 3, bias=bias)
        self.winograd = True

    def forward(self, x: Tensor) -> Tensor:
        """Convolve a batch; see the class for shapes."""
        if not (self.winograd and is_faster(x, self.weight)):
            return super().forward(x)
        y: Tensor = Winograd.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return y


def is_faster(x: Tensor, weight: Tensor) -> bool:
    """Whether Winograd's algorithm is faster: on CPUs, in single precision, with many channels."""
    return min(weight.shape[:2]) >= MIN_CHANNELS and computes_on_cpu(x, weight)


def set_winograd(network: nn.Module, winograd: bool) -> None:
    """Allow or forbid Winograd's algorithm in all 3x3 convolutions of a network."""
    for module in network.modules():
        if isinstance(module, Conv3x3):
            module.winograd = winograd


class Winograd(torch.autograd.Function):
    """``conv2d(x, weight, bias)`` and its gradients; x is (N, C, H, W), weight (O, C, 3, 3), bias (O) or None."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(N, O, H - 2, W - 2). Saves only the arguments for the backward pass, no transformed tiles."""
        ctx.save_for_backward(x, weight)
        product = _product(_transformed_image(x), _transformed_kernel(weight).transpose(1, 2), "result")
        ctx.last = is_channels_last(x)
        y = _from_blocks(_transform(RESULT, product, "blocks"), x.shape, ctx.last)
        return y if bias is None else y.add_(bias[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The gradients of x, weight and bias: each step of `forward` transposed."""
        x, weight = ctx.saved_tensors
        result = _transform(RESULT.T, _in_blocks(upstream), "result")
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            tiles = _product(result, _transformed_kernel(weight), "image")
            of_x = _from_tiles(_transform(IMAGE.T, tiles, "tiles"), x.shape, ctx.last)
        if ctx.needs_input_grad[1]:
            kernel = _product(result.transpose(1, 2), _transformed_image(x), "kernel")
            of_weight = _from_kernel(KERNEL.T.to(x.dtype) @ kernel.flatten(1), weight)
        if ctx.needs_input_grad[2]:
            of_bias = upstream.sum((0, 2, 3))
        return of_x, of_weight, of_bias


class _Scratch(threading.local):
    """Buffers that are reused from call to call. Fresh memory costs more than what is computed in it."""

    def __init__(self) -> None:
        self.buffers: dict[tuple[str, torch.dtype], Tensor] = {}

    def take(self, name: str, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        size = math.prod(shape)
        buffer = self.buffers.get((name, dtype))
        if buffer is None or buffer.numel() < size:
            with torch.inference_mode(False):  # inference tensors could not be written to outside of it
                buffer = self.buffers[name, dtype] = torch.empty(size, dtype=dtype)
        return buffer[:size].view(shape)

    def release(self, max_bytes: int = 0) -> None:
        """Free all buffers larger than `max_bytes`."""
        self.buffers = {key: buffer for key, buffer in self.buffers.items() if buffer.nbytes <= max_bytes}


scratch = _Scratch()


def _transform(matrix: Tensor, values: Tensor, name: str) -> Tensor:
    """The matrix over the first dimension of (36 or 16, M, N), in the scratch buffer of that name."""
    out = scratch.take(name, (len(matrix), *values.shape[1:]), values.dtype)
    torch.mm(matrix.to(values.dtype), values.flatten(1), out=out.flatten(1))
    return out


def _product(a: Tensor, b: Tensor, name: str) -> Tensor:
    """36 matrix products (36, K, L) x (36, L, M), in the scratch buffer of that name."""
    return torch.bmm(a, b, out=scratch.take(name, (len(a), a.shape[1], b.shape[2]), a.dtype))


def _transformed_kernel(weight: Tensor) -> Tensor:
    """(O, C, 3, 3) to (36, O, C)."""
    out = scratch.take("kernel", (TILE * TILE, *weight.shape[:2]), weight.dtype)
    # Either order of the weights in memory is read in long pieces.
    rows = weight.permute(2, 3, 0, 1).reshape(9, -1) if is_channels_last(weight) else weight.reshape(-1, 9).T
    torch.mm(KERNEL.to(weight.dtype), rows, out=out.flatten(1))
    return out


def _from_kernel(rows: Tensor, weight: Tensor) -> Tensor:
    """(9, O x C) to (O, C, 3, 3), in the memory format of the weight."""
    if is_channels_last(weight):
        moved = rows.view(3, 3, *weight.shape[:2]).permute(2, 3, 0, 1)
        return moved.contiguous(memory_format=torch.channels_last)
    return rows.T.reshape(weight.shape)


def _transformed_image(x: Tensor) -> Tensor:
    """(N, C, H, W) to (36, tiles, C), with zeros where the last tiles extend over the border."""
    rows, columns = (STEP * _tiles_along(side) + 2 for side in x.shape[2:])
    tiles = _channels_last(x, rows, columns).unfold(1, TILE, STEP).unfold(2, TILE, STEP)  # N, rows, columns, C, 6, 6
    tiles = tiles.permute(4, 5, 0, 1, 2, 3)
    values = scratch.take("tiles", tiles.shape, x.dtype).copy_(tiles)
    return _transform(IMAGE, values.view(TILE * TILE, -1, x.shape[1]), "image")


def _tiles_along(side: int) -> int:
    return -(-(side - 2) // STEP)


def _channels_last(x: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) to (N, height, width, C), zero-padded at the right and bottom."""
    missing = height - x.shape[2], width - x.shape[3]
    x = nn.functional.pad(x, (0, missing[1], 0, missing[0])) if any(missing) else x
    last = x.permute(0, 2, 3, 1)
    if last.is_contiguous():
        return last
    return scratch.take("last", last.shape, x.dtype).copy_(last)


def _from_tiles(tiles: Tensor, shape: torch.Size, last: bool) -> Tensor:
    """Tiles (36, tiles, C) to (N, C, H, W), summed where they overlap; with `last`, channels last in memory."""
    n, channels, height, width = shape
    rows, columns = _tiles_along(height), _tiles_along(width)
    tiles = tiles.view(TILE, TILE, n, rows, columns, channels).permute(2, 3, 0, 4, 1, 5)
    sheet = scratch.take("last", (n, rows + 1, STEP, columns + 1, STEP, channels), tiles.dtype).zero_()
    sheet[:, :rows, :, :columns] = tiles[:, :, :STEP, :, :STEP]
    sheet[:, 1:, :2, :columns] += tiles[:, :, STEP:, :, :STEP]
    sheet[:, :rows, :, 1:, :2] += tiles[:, :, :STEP, :, STEP:]
    sheet[:, 1:, :2, 1:, :2] += tiles[:, :, STEP:, :, STEP:]
    whole = sheet.view(n, STEP * (rows + 1), STEP * (columns + 1), channels)
    return _copied(whole[:, :height, :width], last)


def _in_blocks(y: Tensor) -> Tensor:
    """(N, O, H, W) to (16, blocks, O): blocks of 4x4 pixels, zero-padded at the border."""
    rows, columns = (-(-side // STEP) for side in y.shape[2:])
    last = _channels_last(y, STEP * rows, STEP * columns)
    n, channels = y.shape[:2]
    blocks = last.view(n, rows, STEP, columns, STEP, channels).permute(2, 4, 0, 1, 3, 5)
    values = scratch.take("blocks", blocks.shape, y.dtype).copy_(blocks)
    return values.view(STEP * STEP, -1, channels)


def _from_blocks(blocks: Tensor, shape: torch.Size, last: bool) -> Tensor:
    """(16, blocks, O) to (N, O, H - 2, W - 2) for an image of `shape` (N, C, H, W)."""
    n, _, height, width = shape
    rows, columns = _tiles_along(height), _tiles_along(width)
    blocks = blocks.view(STEP, STEP, n, rows, columns, -1).permute(2, 3, 0, 4, 1, 5)
    whole = scratch.take("last", blocks.shape, blocks.dtype).copy_(blocks)
    whole = whole.view(n, STEP * rows, STEP * columns, -1)
    return _copied(whole[:, : height - 2, : width - 2], last)


def _copied(image: Tensor, last: bool) -> Tensor:
    """(N, H, W, C) out of scratch memory to (N, C, H, W); with `last`, channels last in memory."""
    moved = image.permute(0, 3, 1, 2)
    return moved.clone(memory_format=torch.channels_last if last else torch.contiguous_format)
