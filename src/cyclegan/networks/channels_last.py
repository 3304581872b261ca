"""Convolutions and instance norms with channels last in memory, for training on CPUs.

This layout spares PyTorch from rearranging images for each convolution, and makes norms and reflected borders several
times as fast. Where it is slow, gradients are computed otherwise: as matrix products where there are many weights, and
row by row of the kernel where there are few outputs. All of this is used for images or weights that are channels last
in memory; others are computed as by PyTorch.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d, pad

FEW = 4  # outputs of a convolution that leave vector units idle
MANY_WEIGHTS = 64 * 128  # products of channels from which matrix products are faster for the gradient of weights
LAST = torch.channels_last


def computes_on_cpu(x: Tensor, weight: Tensor) -> bool:
    """Whether a CPU is about to compute in single precision, and not only to compile or trace a network."""
    return (
        x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    )


def is_channels_last(x: Tensor) -> bool:
    """Whether (N, C, H, W) is channels last in memory, and is not also as by default, as images of one channel."""
    return x.dim() == 4 and x.is_contiguous(memory_format=LAST) and not x.is_contiguous()


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d`, with faster gradients for channels last."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out_channels, H', W')."""
        plain = self.groups == 1 and self.dilation == (1, 1) and self.padding_mode == "zeros"
        if not (plain and computes_on_cpu(x, self.weight) and (is_channels_last(x) or is_channels_last(self.weight))):
            return super().forward(x)
        y: Tensor = Convolution.apply(x, self.weight, self.bias, self.stride[0], self.padding[0])  # type: ignore[no-untyped-call]
        return y


class ConvTranspose2d(nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d`, with faster gradients for channels last."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, C, H, W) to (N, out_channels, H', W')."""
        plain = self.groups == 1 and self.dilation == (1, 1) and output_size is None
        if not (plain and computes_on_cpu(x, self.weight) and (is_channels_last(x) or is_channels_last(self.weight))):
            return super().forward(x, output_size)
        settings = self.stride[0], self.padding[0], self.output_padding[0]
        y: Tensor = TransposedConvolution.apply(x, self.weight, self.bias, *settings)  # type: ignore[no-untyped-call]
        return y


class InstanceNorm2d(nn.InstanceNorm2d):
    """`torch.nn.InstanceNorm2d` without learned scales, faster for channels last."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        if self.affine or self.track_running_stats or traced or not x.is_cpu or not is_channels_last(x):
            return super().forward(x)
        y: Tensor = Normalization.apply(x, self.eps)  # type: ignore[no-untyped-call]
        return y


class Convolution(torch.autograd.Function):
    """``conv2d(x, weight, bias, stride, padding)`` and its gradients, for square kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        """(N, C, H, W) and (O, C, K, K) to (N, O, H', W')."""
        x = x.contiguous(memory_format=LAST)
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        if stride == 1 and len(weight) <= FEW < weight.shape[1]:
            return _few_outputs(x, weight, bias, padding)
        return conv2d(x, weight, bias, stride, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, weight and bias."""
        (x, weight), stride, padding = ctx.saved_tensors, ctx.stride, ctx.padding
        upstream = upstream.contiguous(memory_format=LAST)
        of_x = of_weight = of_bias = None
        if ctx.needs_input_grad[0]:
            if stride == 1 and x.shape[1] <= FEW < len(weight):
                turned = weight.flip(2, 3).transpose(0, 1)
                of_x = _few_outputs(upstream, turned, None, weight.shape[2] - 1 - padding)
            else:
                of_x = _gradient(upstream, x, weight, stride, padding, 0)
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(x, upstream, weight, stride, padding)
        if ctx.needs_input_grad[2]:
            of_bias = upstream.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None, None


class TransposedConvolution(torch.autograd.Function):
    """``conv_transpose2d(x, weight, bias, stride, padding, output_padding)`` and its gradients, for square kernels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, *settings: int) -> Tensor:
        """(N, C, H, W) and (C, O, K, K) to (N, O, H', W')."""
        x = x.contiguous(memory_format=LAST)
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, _ = settings
        return nn.functional.conv_transpose2d(x, weight, bias, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of x, weight and bias: x and `upstream` change places."""
        x, weight = ctx.saved_tensors
        upstream = upstream.contiguous(memory_format=LAST)
        of_x = conv2d(upstream, weight, None, ctx.stride, ctx.padding) if ctx.needs_input_grad[0] else None
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = _weight_gradient(upstream, x, weight, ctx.stride, ctx.padding)
        of_bias = upstream.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None
        return of_x, of_weight, of_bias, None, None, None


class Normalization(torch.autograd.Function):
    """``instance_norm(x, eps=eps)`` and its gradient: PyTorch's batch norm, one image at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        """(N, C, H, W) to the same shape."""
        # With a scale in single precision, the statistics of images in bfloat16 are in single precision too.
        scale = None if x.dtype == torch.float32 else torch.ones(x.shape[1])
        none = (None, None, None)
        images = [torch.native_batch_norm(image, scale, *none, True, 0.0, eps) for image in torch.split(x, 1)]
        ctx.save_for_backward(x, *(value for _, *statistics in images for value in statistics))
        ctx.eps = eps
        return torch.cat([y for y, _, _ in images]) if len(images) > 1 else images[0][0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        """The gradient of x."""
        x, *statistics = ctx.saved_tensors
        upstream = upstream.contiguous(memory_format=LAST)
        images = zip(torch.split(upstream, 1), torch.split(x, 1), statistics[::2], statistics[1::2], strict=True)
        backward = torch.ops.aten.native_batch_norm_backward
        scale = None if x.dtype == torch.float32 else torch.ones(x.shape[1])
        of_x = [
            backward(each, image, scale, None, None, mean, inverse, True, ctx.eps, (True, False, False))[0]
            for each, image, mean, inverse in images
        ]
        return torch.cat(of_x) if len(of_x) > 1 else of_x[0], None


def _few_outputs(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """A convolution of stride 1: the K rows of kernels become K x O outputs of one row, whose results are summed."""
    size, outputs = weight.shape[2], len(weight)
    parts = conv2d(x, _kernel_rows(weight), None, 1, (padding, padding))
    height = parts.shape[2] - size + 1
    y = parts[:, :outputs, :height].contiguous(memory_format=LAST)
    for k in range(1, size):
        y += parts[:, k * outputs : (k + 1) * outputs, k : k + height]
    return y if bias is None else y.add_(bias[:, None, None])


def _kernel_rows(weight: Tensor) -> Tensor:
    """(O, C, K, K) to (K x O, C, 1, K)."""
    return weight.permute(2, 0, 1, 3).flatten(0, 1)[:, :, None].contiguous(memory_format=LAST)


def _weight_gradient(x: Tensor, upstream: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """(O, C, K, K) from (N, C, H, W) and (N, O, H', W')."""
    (outputs, channels, size, _), height = weight.shape, upstream.shape[2]
    if stride == 1 and outputs <= FEW < channels:
        shifted = [pad(upstream, (0, 0, k, size - 1 - k)) for k in range(size)]
        rows = _kernel_rows(weight)
        of_rows = _gradient(torch.cat(shifted, 1).contiguous(memory_format=LAST), x, rows, 1, padding, 1)
        return of_rows.view(size, outputs, channels, size).permute(1, 2, 0, 3)
    if outputs * channels < MANY_WEIGHTS:
        return _gradient(upstream, x, weight, stride, padding, 1)
    padded = pad(x, (padding,) * 4).permute(0, 2, 3, 1)
    patches = padded.unfold(1, size, stride).unfold(2, size, stride)[:, :height, : upstream.shape[3]]
    columns = patches.permute(0, 1, 2, 4, 5, 3).reshape(-1, size * size * channels)
    product = upstream.permute(0, 2, 3, 1).reshape(-1, outputs).T @ columns
    return product.view(outputs, size, size, channels).permute(0, 3, 1, 2)


def _gradient(upstream: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int, which: int) -> Tensor:
    """PyTorch's gradient of x (`which` is 0) or of the weight (1)."""
    settings = (stride, stride), (padding, padding), (1, 1), False, (0, 0), 1, (which == 0, which == 1, False)
    gradient: Tensor = torch.ops.aten.convolution_backward(upstream, x, weight, None, *settings)[which]
    return gradient
