"""The layers of a rewritten generator beside Winograd's convolution: each takes a `Pending` image and gives one."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import conv2d

from cyclegan.networks.inference.pending import Pending
from cyclegan.networks.layers import BatchNorm

Layer = Callable[[Pending], Pending]


class Plain:
    """A layer as PyTorch does it, after a border of reflected values if `border` is not 0."""

    def __init__(self, layer: nn.Module, border: int = 0):
        self.layer, self.border = layer, border

    def __call__(self, x: Pending) -> Pending:
        """(H, W, C) to whatever shape the layer gives."""
        if self.border:
            height, width = (side + 2 * self.border for side in x.values.shape[:2])
            given = x.bordered(self.border, True, height, width).permute(2, 0, 1)[None]
        else:
            given = x.finished()
        return Pending(self.layer(given)[0].permute(1, 2, 0))


class ImageNorm:
    """The normalisation of one image by its own statistics: one scale and one shift for each channel."""

    def __init__(self, norm: nn.InstanceNorm2d | BatchNorm):
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def __call__(self, x: Pending) -> Pending:
        """To the same shape."""
        image = x.finished()
        mean, variance = torch.batch_norm_update_stats(image, None, None, 0.0)
        scale = torch.rsqrt(variance + self.eps)
        scale = scale if self.weight is None else scale * self.weight
        shift = -mean * scale
        return Pending(image[0].permute(1, 2, 0), scale, shift if self.bias is None else shift + self.bias)


def relu(x: Pending) -> Pending:
    """ReLU, the last of what waits."""
    return replace(x, relu=True)


class Residual:
    """x + body(x) for a body that ends without ReLU. Each sum is written over that of the block before."""

    def __init__(self, body: list[Layer]):
        self.body = body

    def __call__(self, x: Pending) -> Pending:
        """To the same shape."""
        x = x.finish("residual")
        y = x
        for layer in self.body:
            y = layer(y)
        return replace(y, residual=x.values)


class FewOutputsConv:
    """A convolution of one image with few outputs on a reflected border, (H, W, C) to (H, W, O).

    Few outputs leave vector units idle. The rows of the kernel are convolutions with one row each, done at once with
    O x K outputs; then they are summed.
    """

    def __init__(self, conv: nn.Conv2d, border: int):
        rows = conv.weight.detach().transpose(1, 2)  # O, K, C, K
        self.kernel_rows = rows.transpose(0, 1).flatten(0, 1)[:, :, None]  # K x O, C, 1, K
        self.kernel_rows = self.kernel_rows.contiguous(memory_format=torch.channels_last)
        self.bias, self.outputs, self.border = conv.bias, conv.out_channels, border

    def __call__(self, x: Pending) -> Pending:
        """Convolve; see the class for shapes."""
        height, width = (side + 2 * self.border for side in x.values.shape[:2])
        sheet = x.bordered(self.border, True, height, width).permute(2, 0, 1)[None]
        parts = conv2d(sheet, self.kernel_rows)[0].contiguous()
        parts = parts.view(-1, self.outputs, *parts.shape[1:])  # K, O, H, W - K + 1
        height = sheet.shape[2] - len(parts) + 1
        y = parts[0, :, :height].clone()
        for k in range(1, len(parts)):
            y += parts[k, :, k : k + height]
        y = y if self.bias is None else y.add_(self.bias[:, None, None])
        return Pending(y.permute(1, 2, 0))
