"""ResNet generators rewritten for translation on processors: the same numbers in less time, without a compiler.

Four things make the difference. 3x3 convolutions of stride 1 go by Winograd's F(4x4, 3x3) with kernels transformed
once, strip by strip in scratch memory that stays in the cache (Lavin and Gray 2016); their transforms are matrix
products, too. Images are walked one at a time with channels last, where a normalisation is batch norm over one image.
Biases that a normalisation takes away again are left out. The last convolution, whose few outputs leave vector units
idle, computes the products of all rows of its kernel at once and adds them up afterwards.
"""

import copy
from collections.abc import Iterator
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d

from cyclegan.networks.layers import BatchNorm, Dropout
from cyclegan.networks.resnet import ResNetGenerator
from cyclegan.networks.winograd import IMAGE_1D, KERNEL, RESULT_1D, STEP, TILE, scratch

LEAST_CHANNELS = 64  # with fewer, the transforms cost more than the products save
STRIP = 128  # tiles that are transformed and multiplied at once: at 256 channels 4.7 MB, twice
FEW = 8  # outputs of a convolution that leave vector units idle


class OnProcessor(nn.Module):
    """A generator as it translates on processors; (N, C, H, W) float32 to the same as the generator it was made of.

    It is made at the first call, and keeps kernels four times the size of the generator's. Later changes of
    the generator do not reach it. What it cannot do, another device or precision or a gradient, the generator does.
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
        images = x.contiguous(memory_format=torch.channels_last).split(1)
        return torch.cat([self.rewritten(image) for image in images]).contiguous()


def fast_for_translation(generator: nn.Module) -> nn.Module:
    """The generator rewritten where that is faster, or itself: U-Nets, noise by dropout, processors not asked."""
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
        if isinstance(layer, nn.ReflectionPad2d) and layers and _is_winograd(layers[0], padding=0):
            conv, *layers = layers
            yield WinogradConv(conv, reflect=True, bias=not _is_norm(layers))
        elif _is_winograd(layer, padding=1):
            yield WinogradConv(layer, reflect=False, bias=not _is_norm(layers))
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

    Lavin and Gray 2016, equation 12: tiles and kernels transformed, 36 products summed over channels, and back.
    """

    def __init__(self, conv: nn.Conv2d, *, reflect: bool, bias: bool):
        super().__init__()
        self.reflect = reflect
        weight = conv.weight.permute(3, 2, 1, 0)  # columns before rows, as the tiles are transformed
        kernel = KERNEL.to(weight.dtype) @ weight.reshape(9, -1)
        self.kernel = kernel.view(TILE * TILE, conv.in_channels, conv.out_channels)
        self.bias = conv.bias if bias else None
        self.of_image, self.of_result = torch.tensor(IMAGE_1D, dtype=torch.float32), torch.tensor(RESULT_1D, dtype=torch.float32)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve; see the class for shapes."""
        height, width = x.shape[2:]
        sheet = self._sheet(x)
        rows, columns = (len(sheet) - 2) // STEP, (sheet.shape[1] - 2) // STEP
        y = torch.empty(rows, STEP, columns, STEP, self.kernel.shape[2])
        strip = max(1, STRIP // columns)
        for first in range(0, rows, strip):
            part = sheet[STEP * first : STEP * min(rows, first + strip) + 2]
            y[first : first + strip] = self._blocks(part)
        whole = y.view(1, STEP * rows, STEP * columns, -1)[:, :height, :width]
        whole = whole if self.bias is None else whole + self.bias
        return whole.permute(0, 3, 1, 2)

    def _sheet(self, x: Tensor) -> Tensor:
        """(1, C, H, W) to (4 rows + 2, 4 columns + 2, C) with its border, zeros where tiles reach farther."""
        _, channels, height, width = x.shape
        sides = (STEP * -(-side // STEP) + 2 for side in (height, width))
        sheet = scratch.take("last", (*sides, channels), x.dtype)
        sheet[1 : height + 1, 1 : width + 1] = x[0].permute(1, 2, 0)
        for side, across in ((height, sheet), (width, sheet.transpose(0, 1))):
            across[side + 1 :] = 0
            across[0] = across[2] if self.reflect else 0
            if self.reflect:
                across[side + 1] = across[side - 1]
        return sheet

    def _blocks(self, sheet: Tensor) -> Tensor:
        """(4 rows + 2, 4 columns + 2, C) to (rows, 4, columns, 4, O), in scratch memory."""
        image, rows, columns = self._transformed(sheet)
        outputs = self.kernel.shape[2]
        product = scratch.take("tiles", (TILE, TILE * rows * columns * outputs), sheet.dtype)
        torch.bmm(image, self.kernel, out=product.view(TILE * TILE, rows * columns, outputs))
        across = scratch.take("image", (STEP, TILE, rows * columns * outputs), sheet.dtype)
        torch.mm(self.of_result, product, out=across.flatten(1))
        blocks = scratch.take("tiles", (STEP, STEP, rows, columns, outputs), sheet.dtype)
        torch.bmm(self.of_result.expand(STEP, -1, -1), across, out=blocks.flatten(2))
        return blocks.permute(2, 1, 3, 0, 4)

    def _transformed(self, sheet: Tensor) -> tuple[Tensor, int, int]:
        """(4 rows + 2, 4 columns + 2, C) to (36, tiles, C) in scratch memory; and the rows and columns of tiles."""
        rows, columns, channels = (len(sheet) - 2) // STEP, (sheet.shape[1] - 2) // STEP, sheet.shape[2]
        bands = scratch.take("image", (TILE, rows, *sheet.shape[1:]), sheet.dtype)
        for row in range(rows):
            pixels = sheet[STEP * row : STEP * row + TILE]
            torch.mm(self.of_image, pixels.flatten(1), out=bands[:, row].flatten(1))
        tiles = scratch.take("tiles", (TILE, TILE, rows, columns, channels), sheet.dtype)
        tiles.copy_(bands.unfold(2, TILE, STEP).permute(4, 0, 1, 2, 3))
        image = scratch.take("image", (TILE, TILE * rows * columns * channels), sheet.dtype)
        torch.mm(self.of_image, tiles.flatten(1), out=image)
        return image.view(TILE * TILE, rows * columns, channels), rows, columns


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
        parts = conv2d(x, self.kernel_rows).contiguous().split(self.outputs, 1)
        height = x.shape[2] - len(parts) + 1
        y = sum(part[:, :, k : k + height] for k, part in enumerate(parts))
        assert isinstance(y, Tensor)
        return y if self.bias is None else y.add_(self.bias[:, None, None])
