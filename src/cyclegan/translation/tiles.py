"""Images of any size through a generator in bounded memory, with the result of the whole image.

A generator with instance norm looks at the whole image: each normalisation needs the mean and variance over all pixels.
Cutting an image into tiles and translating each alone therefore changes colours and shows seams. Here the network is
walked stage by stage instead: what lies between two normalisations is computed band by band of rows, each with the
rows around it that its convolutions need, while mean and variance are gathered over all bands; then the next stage
begins. What stages hand over is kept in memory or, beyond a budget, in a temporary file. Large arrays that are cheaper
to compute again than to keep are computed again.
"""

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from cyclegan.errors import UsageError
from cyclegan.networks.layers import BatchNorm, Dropout, reflect_to_multiple
from cyclegan.networks.resnet import ResidualBlock, ResNetGenerator, SeparableResidualBlock

BAND_SHARE = 16  # a band's arrays together take about a sixteenth of the budget


class Rows(ABC):
    """An array (channels, height, width) of which bands of rows can be asked for, in any order."""

    def __init__(self, channels: int, height: int, width: int):
        self.channels, self.height, self.width = channels, height, width

    @abstractmethod
    def rows(self, first: int, end: int) -> Tensor:
        """Rows first to end - 1 as (1, channels, end - first, width)."""


class Whole(Rows):
    """An image that is in memory."""

    def __init__(self, image: Tensor):
        super().__init__(*image.shape)
        self.image = image

    def rows(self, first: int, end: int) -> Tensor:
        """A view."""
        return self.image[None, :, first:end]


class Pointwise(Rows):
    """A function of each pixel alone."""

    def __init__(self, below: Rows, function: Callable[[Tensor], Tensor]):
        super().__init__(below.channels, below.height, below.width)
        self.below, self.function = below, function

    def rows(self, first: int, end: int) -> Tensor:
        """Computed anew at each call."""
        return self.function(self.below.rows(first, end))


class Sum(Rows):
    """Two arrays of one shape, added."""

    def __init__(self, below: Rows, branch: Rows):
        super().__init__(below.channels, below.height, below.width)
        self.below, self.branch = below, branch

    def rows(self, first: int, end: int) -> Tensor:
        """Computed anew at each call."""
        return self.below.rows(first, end) + self.branch.rows(first, end)


class Reflected(Rows):
    """Reflection padding, at the true borders only."""

    def __init__(self, below: Rows, padding: int):
        super().__init__(below.channels, below.height + 2 * padding, below.width + 2 * padding)
        self.below, self.padding = below, padding

    def rows(self, first: int, end: int) -> Tensor:
        """The rows below, with reflected ones where the band reaches over the border."""
        last = self.below.height - 1
        wanted = torch.arange(first - self.padding, end - self.padding).abs()
        wanted = torch.minimum(wanted, 2 * last - wanted)
        lowest, highest = int(wanted.min()), int(wanted.max())
        band = self.below.rows(lowest, highest + 1).index_select(2, wanted - lowest)
        return pad(band, (self.padding, self.padding, 0, 0), mode="reflect")


class Convolved(Rows):
    """A convolution with zero padding."""

    def __init__(self, below: Rows, layer: nn.Conv2d):
        self.kernel, self.stride, self.padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
        height, width = (
            (side + 2 * self.padding - self.kernel) // self.stride + 1 for side in (below.height, below.width)
        )
        super().__init__(layer.out_channels, height, width)
        self.below, self.layer = below, layer

    def rows(self, first: int, end: int) -> Tensor:
        """The convolution of the rows that these depend on."""
        start = first * self.stride - self.padding
        stop = (end - 1) * self.stride - self.padding + self.kernel
        band = self.below.rows(max(0, start), min(self.below.height, stop))
        above, under = max(0, -start), max(0, stop - self.below.height)
        band = pad(band, (self.padding, self.padding, above, under))
        padding, self.layer.padding = self.layer.padding, (0, 0)
        try:
            y: Tensor = self.layer(band)
        finally:
            self.layer.padding = padding
        return y


class Transposed(Rows):
    """A transposed convolution."""

    def __init__(self, below: Rows, layer: nn.ConvTranspose2d):
        self.kernel, self.stride, self.padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
        extra = self.kernel - 2 * self.padding + int(layer.output_padding[0]) - self.stride
        super().__init__(layer.out_channels, below.height * self.stride + extra, below.width * self.stride + extra)
        self.below, self.layer = below, layer

    def rows(self, first: int, end: int) -> Tensor:
        """The transposed convolution of the rows that reach these, cut to them."""
        lowest = max(0, -((self.kernel - 1 - first - self.padding) // self.stride))
        highest = min(self.below.height - 1, (end - 1 + self.padding) // self.stride)
        y = nn.functional.conv_transpose2d(
            self.below.rows(lowest, highest + 1), self.layer.weight, self.layer.bias, self.stride
        )
        top = first + self.padding - lowest * self.stride
        missing = top + end - first - y.shape[2], self.padding + self.width - y.shape[3]
        if max(missing) > 0:  # output padding: pixels that no kernel reaches hold the bias
            y = self._grown(y, *(max(0, m) for m in missing))
        return y[:, :, top : top + end - first, self.padding : self.padding + self.width]

    def _grown(self, y: Tensor, rows: int, columns: int) -> Tensor:
        y = pad(y, (0, columns, 0, rows))
        if self.layer.bias is not None:
            bias = self.layer.bias[:, None, None]
            y[..., y.shape[3] - columns :] = bias
            y[..., y.shape[2] - rows :, :] = bias
        return y


class Kept(Rows):
    """An array computed once, band by band, and kept in memory or in a temporary file, rows one after another."""

    def __init__(self, below: Rows, bands: Callable[[Rows], Iterator[tuple[int, int]]], on_disk: bool):
        super().__init__(below.channels, below.height, below.width)
        self.row_bytes = 4 * self.channels * self.width
        self.memory = None if on_disk else torch.empty(self.height, self.channels, self.width)
        self.file = tempfile.TemporaryFile(buffering=0) if on_disk else None  # noqa: SIM115  (closed with this array)
        for first, end in bands(self):
            self._write(first, below.rows(first, end)[0].transpose(0, 1))

    def _write(self, first: int, band: Tensor) -> None:
        if self.memory is not None:
            self.memory[first : first + len(band)] = band
        elif self.file is not None:
            self.file.seek(first * self.row_bytes)
            left = memoryview(band.contiguous().numpy().data).cast("B")
            while left:
                left = left[self.file.write(left) :]

    def rows(self, first: int, end: int) -> Tensor:
        """Read back."""
        if self.memory is not None:
            return self.memory[first:end].transpose(0, 1)[None]
        band = np.empty((end - first, self.channels, self.width), np.float32)
        assert self.file is not None
        self.file.seek(first * self.row_bytes)
        left = memoryview(band.data).cast("B")
        while left:
            left = left[self.file.readinto(left) :]
        return torch.from_numpy(band).transpose(0, 1)[None]


class Walk:
    """One walk through a network. `memory` is the budget in bytes; `tell` hears of every band that is done."""

    def __init__(self, memory: int, full_height: int, tell: Callable[[], None]):
        self.memory, self.full_height, self.tell = memory, full_height, tell

    def through(self, module: nn.Module, below: Rows) -> Rows:
        """What the module makes of an array. Raises `UsageError` for modules that cannot be walked."""
        if isinstance(module, nn.Sequential):
            for part in module:
                below = self.through(part, below)
            return below
        if isinstance(module, ResidualBlock | SeparableResidualBlock):
            return self._kept(Sum(below, self.through(module.body, below)))
        if isinstance(module, nn.ReflectionPad2d):
            return Reflected(below, module.padding[0])
        if isinstance(module, nn.Conv2d):
            return Convolved(below, module)
        if isinstance(module, nn.ConvTranspose2d):
            return Transposed(below, module)
        if isinstance(module, nn.InstanceNorm2d):
            return self._normalised(below, module.eps)
        if isinstance(module, BatchNorm):  # in translation the image's own statistics, too
            weight, bias = (t.detach()[:, None, None] for t in (module.weight, module.bias))
            return Pointwise(self._normalised(below, module.eps), lambda band: torch.addcmul(bias, band, weight))
        if isinstance(module, nn.ReLU):
            return Pointwise(below, nn.functional.relu)
        if isinstance(module, nn.Tanh | nn.Identity) or (isinstance(module, Dropout) and module.noise_seed is None):
            return Pointwise(below, module)
        raise UsageError(f"A generator with {type(module).__name__} cannot be walked in bands.")

    def bands(self, array: Rows) -> Iterator[tuple[int, int]]:
        """First and end rows that fit into the budget together with what they are computed from."""
        pixels = self.memory / BAND_SHARE / 4 / array.width / max(array.channels, 64)
        height = max(8, int(pixels) // 4 * 4)
        for first in range(0, array.height, height):
            yield first, min(first + height, array.height)
            self.tell()

    def _kept(self, array: Rows) -> Rows:
        size = 4 * array.channels * array.height * array.width
        return Kept(array, self.bands, on_disk=size > self.memory // 8)

    def _normalised(self, array: Rows, eps: float) -> Rows:
        """Instance norm with the statistics of the whole array (Chan et al. 1979, in double precision)."""
        if array.height < self.full_height:  # at full resolution arrays are largest, and cheapest to compute again
            array = self._kept(array)
        count, mean, squares = 0, torch.zeros(array.channels, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
        for first, end in self.bands(array):
            band = array.rows(first, end)[0].flatten(1).double()
            n, centre = band.shape[1], band.mean(1)
            shift = centre - mean
            squares = squares + (band - centre[:, None]).square().sum(1) + shift.square() * count * n / (count + n)
            mean = mean + shift * n / (count + n)
            count += n
        scale = (squares / count + eps).rsqrt()
        weight, bias = scale.float()[:, None, None], (-mean * scale).float()[:, None, None]
        return Pointwise(array, lambda band: torch.addcmul(bias, band, weight))


@torch.no_grad()
def translate_in_bands(
    generator: ResNetGenerator, image: Tensor, memory: int, tell: Callable[[], None] = lambda: None
) -> Tensor:
    """The generator's result for one image (C, H, W) on the CPU in [-1, 1], computed in about `memory` bytes.

    Equal to that of the whole image up to the rounding of single precision. `tell` is called after each band.
    """
    height, width = image.shape[1:]
    padded = reflect_to_multiple(image[None], multiple=4, least=8)[0]
    walk = Walk(memory, padded.shape[1], tell)
    array: Rows = Whole(padded)
    for part in (generator.stem, generator.down, generator.blocks, generator.up, generator.head):
        array = walk.through(part, array)
    result = torch.empty(array.channels, array.height, array.width)
    for first, end in walk.bands(array):
        result[:, first:end] = array.rows(first, end)[0]
    return result[:, :height, :width]
