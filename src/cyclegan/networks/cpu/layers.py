"""The layers of a rewritten generator, except Winograd convolutions: functions from `DeferredEpilogue` to the same."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from cyclegan.networks.cpu.fused import DeferredEpilogue
from cyclegan.networks.layers import BatchNorm
from cyclegan.networks.winograd import scratch

Layer = Callable[[DeferredEpilogue], DeferredEpilogue]

STRIP_BYTES = 2**24  # of a result; the C library reuses no more than 32 MiB


class EagerLayer:
    """A layer as PyTorch computes it."""

    def __init__(self, layer: nn.Module):
        self.layer = layer

    def __call__(self, x: DeferredEpilogue) -> DeferredEpilogue:
        """(H, W, C) to the shape that the layer returns."""
        return DeferredEpilogue(self.layer(x.tensor())[0].permute(1, 2, 0))


class DirectConv:
    """A convolution as PyTorch computes it, of an image with a border of reflected values or of its padding's zeros.

    Transposed convolutions must double the sides: 3x3, stride 2, padding 1, output padding 1.
    """

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, border: int):
        self.conv, self.border, self.reflect = conv, border, border > 0
        if isinstance(conv, nn.Conv2d) and not self.reflect:
            self.border, conv.padding = int(conv.padding[0]), (0, 0)

    def __call__(self, x: DeferredEpilogue) -> DeferredEpilogue:
        """Convolve; large results strip by strip into scratch memory, which avoids fresh pages from the system."""
        sides = [side + 2 * self.border for side in x.values.shape[:2]]
        height, width = (self._output_size(side) for side in sides)
        rows = max(2, STRIP_BYTES // (width * self.conv.out_channels * x.values.itemsize) // 2 * 2)
        if self.border:
            image = x.padded(self.border, self.reflect, *sides).permute(2, 0, 1)[None]
        else:  # strips are read from other memory than they are written to
            image = (x if rows >= height else x.materialize("whole")).tensor()
        if rows >= height:
            return DeferredEpilogue(self.conv(image)[0].permute(1, 2, 0))
        y = scratch.take("values", (height, width, self.conv.out_channels), image.dtype)
        for first in range(0, height, rows):
            y[first : first + rows] = self._rows(image, first, min(height, first + rows))
        return DeferredEpilogue(y)

    def _output_size(self, side: int) -> int:
        if isinstance(self.conv, nn.ConvTranspose2d):
            return 2 * side
        return (side - self.conv.kernel_size[0]) // self.conv.stride[0] + 1

    def _rows(self, image: Tensor, first: int, end: int) -> Tensor:
        """Rows of the result, (end - first, W, O); for transposed convolutions `first` and `end` are even."""
        if isinstance(self.conv, nn.ConvTranspose2d):
            given = slice(first // 2, end // 2 + 1)
        else:
            step, size = self.conv.stride[0], self.conv.kernel_size[0]
            given = slice(step * first, step * (end - 1) + size)
        y: Tensor = self.conv(image[:, :, given])
        return y[0, :, : end - first].permute(1, 2, 0)


class ImageNorm:
    """The normalization of one image by its own statistics: one scale and one shift for each channel."""

    def __init__(self, norm: nn.InstanceNorm2d | BatchNorm):
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def __call__(self, x: DeferredEpilogue) -> DeferredEpilogue:
        """To the same shape."""
        image = x.tensor()
        mean, variance = torch.batch_norm_update_stats(image, None, None, 0.0)
        scale = torch.rsqrt(variance + self.eps)
        scale = scale if self.weight is None else scale * self.weight
        shift = -mean * scale
        return DeferredEpilogue(image[0].permute(1, 2, 0), scale, shift if self.bias is None else shift + self.bias)


def relu(x: DeferredEpilogue) -> DeferredEpilogue:
    """ReLU, applied after all other deferred operations."""
    return replace(x, relu=True)


class ResidualSum:
    """x + body(x) for a body that ends without ReLU. Each sum overwrites that of the previous block."""

    def __init__(self, body: list[Layer]):
        self.body = body

    def __call__(self, x: DeferredEpilogue) -> DeferredEpilogue:
        """To the same shape."""
        x = x.materialize("residual")
        y = x
        for layer in self.body:
            y = layer(y)
        return replace(y, residual=x.values)


class FewOutputsConv:
    """A convolution of one image with few outputs on a reflected border, (H, W, C) to (H, W, O).

    Few outputs leave vector units idle. Therefore the K rows of the kernel become one convolution of O x K outputs
    with kernels of one row, whose results are summed.
    """

    def __init__(self, conv: nn.Conv2d, border: int):
        rows = conv.weight.transpose(1, 2)  # O, K, C, K
        self.kernel_rows = rows.transpose(0, 1).flatten(0, 1)[:, :, None]  # K x O, C, 1, K
        self.kernel_rows = self.kernel_rows.contiguous(memory_format=torch.channels_last)
        self.bias, self.outputs, self.border = conv.bias, conv.out_channels, border

    def __call__(self, x: DeferredEpilogue) -> DeferredEpilogue:
        """Convolve; see the class for shapes."""
        height, width = (side + 2 * self.border for side in x.values.shape[:2])
        sheet = x.padded(self.border, True, height, width).permute(2, 0, 1)[None]
        parts = conv2d(sheet, self.kernel_rows)[0].permute(1, 2, 0)  # H + K - 1, W, K x O
        rows = torch.split(parts, self.outputs, dim=2)
        height = len(parts) - len(rows) + 1
        y = rows[0][:height].clone()
        for k in range(1, len(rows)):
            y += rows[k][k : k + height]
        return DeferredEpilogue(y if self.bias is None else y.add_(self.bias))
