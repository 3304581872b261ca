"""ResNet generators rewritten for translation on processors: the same numbers in less time, without a compiler.

Four things make the difference. 3x3 convolutions of stride 1 go by Winograd's F(6x6, 3x3) or F(4x4, 3x3) with kernels
transformed once, strip by strip in scratch memory that stays in the cache (Lavin and Gray 2016); columns and rows are
transformed one after the other, as matrix products. Images are walked one at a time with channels last, where a
normalisation is batch norm over one image. Biases that a normalisation takes away again are left out. The last
convolution, whose few outputs leave vector units idle, computes the products of all rows of its kernel at once and adds
them up afterwards.
"""

import copy
import math
from collections.abc import Iterator
from typing import TypeGuard

import torch
from numpy.polynomial.polynomial import polyfromroots
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d

from cyclegan.networks.layers import BatchNorm, Dropout
from cyclegan.networks.resnet import ResNetGenerator
from cyclegan.networks.winograd import scratch

LEAST_CHANNELS = 64  # with fewer, the transforms cost more than the products save
STRIP = 128  # tiles transformed and multiplied at once: at 256 channels at most 8.4 MB, twice
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # where polynomials are taken; small numbers round least
FEW = 8  # outputs of a convolution that leave vector units idle


class OnProcessor(nn.Module):
    """A generator as it translates on processors; (N, C, H, W) float32 to the same as the generator it was made of.

    It is made at the first call, and keeps kernels of four or seven times the size of the generator's. Later changes
    of the generator do not reach it. What it cannot do (another device or precision, a gradient) the generator does.
    """

    def __init__(self, generator: ResNetGenerator):
        super().__init__()
        self.generator = generator
        self.rewritten: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch, one image after the other."""
        if not _can_run(x, self.generator):
            return self.generator(x)
        if self.rewritten is None:
            self.rewritten = rewritten(self.generator)
        images = x.contiguous(memory_format=torch.channels_last)
        return torch.cat([self.rewritten(image[None]) for image in images]).contiguous()


def fast_for_translation(generator: nn.Module) -> nn.Module:
    """The generator rewritten, or itself where that is of no use: U-Nets, and dropout that stays at work."""
    noisy = any(isinstance(m, Dropout) and m.noise_seed is not None for m in generator.modules())
    if not isinstance(generator, ResNetGenerator) or noisy:
        return generator
    return OnProcessor(generator)


def _can_run(x: Tensor, generator: nn.Module) -> bool:
    weight = next(generator.parameters())
    return (
        x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not generator.training
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    )


@torch.no_grad()
def rewritten(generator: ResNetGenerator) -> nn.Module:
    """A copy of the generator, of faster layers, for one image (1, C, H, W) at a time in channels-last memory."""
    fast = copy.deepcopy(generator).requires_grad_(False)
    _rewrite(fast)
    return fast.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _rewrite(network: nn.Module) -> None:
    """Replace the layers of every `Sequential` in a network."""
    for name, child in list(network.named_children()):
        _rewrite(child)
        if isinstance(child, nn.Sequential):
            setattr(network, name, nn.Sequential(*_faster_layers(list(child))))


def _faster_layers(layers: list[nn.Module]) -> Iterator[nn.Module]:
    """The layers of a `Sequential`, some joined, some replaced."""
    while layers:
        layer, *layers = layers
        reflect = isinstance(layer, nn.ReflectionPad2d) and bool(layers)
        conv, after = (layers[0], layers[1:]) if reflect else (layer, layers)
        if _is_winograd(conv, padding=0 if reflect else 1):
            layers = after
            yield WinogradConv(conv, reflect=reflect, bias=not _is_norm(layers))
        elif _has_few_outputs(layer):
            yield FewOutputsConv(layer)
        elif isinstance(layer, nn.InstanceNorm2d | BatchNorm):
            yield ImageNorm(layer)
        else:
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and _is_norm(layers):
                layer.bias = None
            yield layer


def _is_norm(layers: list[nn.Module]) -> bool:
    """Whether the next layer takes the mean of each channel away."""
    return bool(layers) and isinstance(layers[0], nn.InstanceNorm2d | BatchNorm)


def _is_winograd(layer: nn.Module, padding: int) -> TypeGuard[nn.Conv2d]:
    return (
        isinstance(layer, nn.Conv2d)
        and (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (padding, padding))
        and layer.groups == 1
        and min(layer.in_channels, layer.out_channels) >= LEAST_CHANNELS
    )


def _has_few_outputs(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    return isinstance(layer, nn.Conv2d) and layer.out_channels <= FEW and layer.padding == (0, 0)


class ImageNorm(nn.Module):
    """The normalisation of one image (1, C, H, W) by its own statistics; with channels last, quicker as batch norm."""

    def __init__(self, norm: nn.InstanceNorm2d | BatchNorm):
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """To the same shape."""
        return batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)


class WinogradConv(nn.Module):
    """A 3x3 convolution of one image with a border of one pixel, (1, C, H, W) to (1, O, H, W), channels last.

    By F(m x m, 3 x 3) [Lavin and Gray 4]: tiles and kernels transformed, products summed over channels, and back.
    """

    def __init__(self, conv: nn.Conv2d, *, reflect: bool, bias: bool):
        super().__init__()
        self.weight, self.bias, self.reflect = conv.weight, conv.bias if bias else None, reflect
        self.ways: dict[int, Way] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; see the class for shapes."""
        height, width = x.shape[2:]
        m = best_step(height, width)
        if m not in self.ways:
            self.ways[m] = Way(m, self.weight)
        sheet = self._sheet(x, m)
        rows, columns = ((side - 2) // m for side in sheet.shape[:2])
        y = torch.empty(rows, m, columns, m, len(self.weight))
        strip = max(1, STRIP // columns)
        for first in range(0, rows, strip):
            part = sheet[m * first : m * min(rows, first + strip) + 2]
            y[first : first + strip] = self.ways[m].blocks(part)
        # Contiguous, since batch norm is slow on a part of a larger image.
        whole = y.view(1, m * rows, m * columns, -1)[:, :height, :width].contiguous()
        whole = whole if self.bias is None else whole + self.bias
        return whole.permute(0, 3, 1, 2)

    def _sheet(self, x: Tensor, m: int) -> Tensor:
        """(1, C, H, W) to (m rows + 2, m columns + 2, C) with its border, zeros where tiles reach farther."""
        _, channels, height, width = x.shape
        sides = (m * -(-side // m) + 2 for side in (height, width))
        sheet = scratch.take("last", (*sides, channels), x.dtype)
        sheet[1 : height + 1, 1 : width + 1] = x[0].permute(1, 2, 0)
        for side, across in ((height, sheet), (width, sheet.transpose(0, 1))):
            across[side + 1 :] = 0
            across[0] = across[2] if self.reflect else 0
            if self.reflect:
                across[side + 1] = across[side - 1]
        return sheet


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


class FewOutputsConv(nn.Module):
    """A convolution of one image without padding to a few channels, (1, C, H, W) to (1, O, H - K + 1, W - K + 1).

    The rows of the kernel are convolutions with one row each, done at once with O x K outputs; then they are summed.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        rows = conv.weight.transpose(1, 2)  # O, K, C, K
        self.kernel_rows = rows.transpose(0, 1).flatten(0, 1)[:, :, None]  # K x O, C, 1, K
        self.kernel_rows = self.kernel_rows.contiguous(memory_format=torch.channels_last)
        self.bias, self.outputs = conv.bias, conv.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; see the class for shapes."""
        parts = conv2d(x, self.kernel_rows)[0].contiguous()
        parts = parts.view(-1, self.outputs, *parts.shape[1:])  # K, O, H, W - K + 1
        height = x.shape[2] - len(parts) + 1
        y = parts[0, :, :height].clone()
        for k in range(1, len(parts)):
            y += parts[k, :, k : k + height]
        return (y if self.bias is None else y.add_(self.bias[:, None, None]))[None]
