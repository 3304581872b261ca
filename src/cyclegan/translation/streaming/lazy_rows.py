"""Arrays whose rows are computed on demand, band by band: the outputs of a network's layers."""

import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from fractions import Fraction
from math import ceil, floor
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.networks.layers import BlurDown, BlurUp, Dropout
from cyclegan.networks.winograd import Conv3x3

Read = Callable[[int, int], Tensor]  # rows first to end - 1 as (1, channels, end - first, width)
Bands = Iterator[tuple[int, int]]  # first and end rows of bands, top to bottom

WINOGRAD = 4.5  # floats that Winograd's algorithm keeps for each float of its input and output


class Rows(ABC):
    """An array (channels, height, width) of which bands of rows can be read, in any order.

    `floats_per_pixel` is how many floats are in memory for each pixel of a band while the band is computed. `cheap`
    means that reading a band again costs next to nothing.
    """

    cheap = False

    def __init__(self, channels: int, height: int, width: int, floats_per_pixel: float):
        self.channels, self.height, self.width, self.floats_per_pixel = channels, height, width, floats_per_pixel

    @abstractmethod
    def read(self, first: int, end: int) -> Tensor:
        """Rows first to end - 1 as (1, channels, end - first, width). Must not be written to."""


class Source(Rows):
    """Rows from a function: an image."""

    cheap = True

    def __init__(self, channels: int, height: int, width: int, read: Read):
        super().__init__(channels, height, width, 2 * channels)
        self._read = read

    def read(self, first: int, end: int) -> Tensor:
        """Read again at each call."""
        return self._read(first, end)


class Pointwise(Rows):
    """A function of each pixel by itself."""

    def __init__(self, below: Rows, function: Callable[[Tensor], Tensor], channels: int | None = None):
        channels = channels or below.channels
        floats = max(below.floats_per_pixel, below.channels + channels)
        super().__init__(channels, below.height, below.width, floats)
        self.below, self.function, self.cheap = below, function, below.cheap

    def read(self, first: int, end: int) -> Tensor:
        """Computed at each call."""
        return self.function(self.below.read(first, end))


class Crop(Rows):
    """The first rows and columns of an array."""

    def __init__(self, below: Rows, height: int, width: int):
        super().__init__(below.channels, height, width, below.floats_per_pixel)
        self.below = below

    def read(self, first: int, end: int) -> Tensor:
        """Computed at each call."""
        return self.below.read(first, end)[..., : self.width]


class FixedDropout(Rows):
    """Dropout with a fixed seed, whose mask is drawn once and stored as bits."""

    def __init__(self, below: Rows, layer: Dropout):
        floats = max(below.floats_per_pixel, 3 * below.channels)
        super().__init__(below.channels, below.height, below.width, floats)
        self.below, self.layer, self.bits = below, layer, np.empty(0, np.uint8)

    def read(self, first: int, end: int) -> Tensor:
        """The rows, masked and scaled as the layer does."""
        if not len(self.bits):
            size = self.height, self.width
            self.bits = np.stack([np.packbits(kept, axis=1) for kept in self.layer.kept(self.channels, *size)])
        kept = torch.from_numpy(np.unpackbits(self.bits[:, first:end], axis=2, count=self.width))
        band = self.below.read(first, end)
        return band * kept.to(band) / (1 - self.layer.p)


class Binary(Rows):
    """A function of two arrays of the same size, pixel by pixel, such as a sum or a concatenation."""

    def __init__(self, below: Rows, branch: Rows, function: Callable[[Tensor, Tensor], Tensor], channels: int):
        floats = max(below.floats_per_pixel, branch.floats_per_pixel, branch.channels + channels)
        super().__init__(channels, below.height, below.width, below.channels + floats)
        self.below, self.branch, self.function = below, branch, function

    def read(self, first: int, end: int) -> Tensor:
        """Computed at each call."""
        return self.function(self.below.read(first, end), self.branch.read(first, end))


class Reflected(Rows):
    """An array extended by reflection, by the given numbers of rows and columns on each side."""

    def __init__(self, below: Rows, top: int, bottom: int, left: int, right: int):
        height, width = below.height + top + bottom, below.width + left + right
        super().__init__(below.channels, height, width, max(below.floats_per_pixel, 3 * below.channels))
        self.below = below
        self.row_index = _reflected_index(below.height, top, bottom)
        self.column_index = _reflected_index(below.width, left, right)

    def read(self, first: int, end: int) -> Tensor:
        """The rows below, with reflected ones where the band reaches over the border."""
        index = self.row_index[first:end]
        lowest, highest = int(index.min()), int(index.max()) + 1
        band = self.below.read(lowest, highest)
        if index[0] != lowest or highest - lowest != len(index):  # the band includes a border
            band = band.index_select(2, (index - lowest).to(band.device))
        return band.index_select(3, self.column_index.to(band.device))


def _reflected_index(size: int, before: int, after: int) -> Tensor:
    """The index in 0 to size - 1 of each position from -before to size + after - 1."""
    position = torch.arange(-before, size + after).abs() % max(1, 2 * size - 2)
    return torch.minimum(position, (2 * size - 2 - position).abs())


class ConvRows(Rows):
    """The output of a convolution, blur or pixel shuffle, each row computed from a few rows below.

    The layer itself is called with a band and the rows around it. It takes the band's borders for those of the image;
    the rows that it gets wrong for that reason are cropped.
    """

    def __init__(self, below: Rows, layer: nn.Module):
        self.scale, self.before, self.after, size = _geometry(layer)
        area = float(1 / self.scale**2)  # pixels below for each pixel of the output
        shuffles = isinstance(layer, nn.PixelShuffle | nn.PixelUnshuffle)
        channels = round(below.channels * area) if shuffles else getattr(layer, "out_channels", below.channels)
        given = below.channels * area
        # Convolutions copy both their input and their output.
        floats = max(below.floats_per_pixel * area, given + channels + 2 * max(given, channels))
        if isinstance(layer, Conv3x3):
            floats = max(floats, (WINOGRAD + 1) * (given + channels))
        super().__init__(channels, size(below.height), size(below.width), floats)
        self.below, self.layer = below, layer

    def read(self, first: int, end: int) -> Tensor:
        """Computed at each call."""
        lowest = max(0, floor(first / self.scale) - self.before)
        lowest -= lowest % max(1, int(1 / self.scale))  # aligned with the layer's stride
        highest = min(self.below.height, floor((end - 1) / self.scale) + 1 + self.after)
        top = int(lowest * self.scale)
        band: Tensor = self.layer(self.below.read(lowest, highest))
        return band[:, :, first - top : end - top]


def _geometry(layer: nn.Module) -> tuple[Fraction, int, int, Callable[[int], int]]:
    """Output rows per input row; input rows needed before and after; output size as a function of the input size."""
    if isinstance(layer, BlurDown):
        return Fraction(1, 2), 1, 1, lambda size: ceil(size / 2)
    if isinstance(layer, BlurUp):
        return Fraction(2), 1, 1, lambda size: 2 * size
    if isinstance(layer, nn.PixelUnshuffle):
        block = layer.downscale_factor
        return Fraction(1, block), 0, block - 1, lambda size: size // block
    if isinstance(layer, nn.PixelShuffle):
        factor = layer.upscale_factor
        return Fraction(factor), 0, 0, lambda size: size * factor
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.dilation == (1, 1) and layer.padding != "same":
        kernel, stride, padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
        if isinstance(layer, nn.Conv2d):
            return (
                Fraction(1, stride),
                padding,
                kernel - 1 - padding,
                lambda size: (size + 2 * padding - kernel) // stride + 1,
            )
        missing = kernel - 2 * padding + int(layer.output_padding[0]) - stride
        reach = (kernel - 1 - padding) // stride
        return Fraction(stride), reach, ceil(padding / stride), lambda size: size * stride + missing
    raise UsageError(f"A generator with {type(layer).__name__} cannot be streamed.")


class Materialized(Rows):
    """An array computed once, band by band, and kept in memory or in a temporary file, row after row."""

    cheap = True

    def __init__(self, below: Rows, bands: Bands, on_disk: bool):
        super().__init__(below.channels, below.height, below.width, 2 * below.channels)
        self.row_bytes = 4 * self.channels * self.width
        self.memory = None if on_disk else torch.empty(self.height, self.channels, self.width)
        self.file = _temporary_file(self.row_bytes * self.height) if on_disk else None
        self.device = torch.device("cpu")
        for first, end in bands:
            band = below.read(first, end)[0].transpose(0, 1)
            self.device = band.device
            self._write(first, band.cpu())

    def _write(self, first: int, band: Tensor) -> None:
        if self.memory is not None:
            self.memory[first : first + len(band)] = band
        elif self.file is not None:
            self.file.seek(first * self.row_bytes)
            left = memoryview(band.contiguous().numpy().data).cast("B")
            while left:
                left = left[self.file.write(left) :]

    def read(self, first: int, end: int) -> Tensor:
        """Copied from memory, or read from the file."""
        if self.memory is not None:
            return self.memory[first:end].transpose(0, 1)[None].to(self.device)
        band = np.empty((end - first, self.channels, self.width), np.float32)
        assert self.file is not None
        self.file.seek(first * self.row_bytes)
        left = memoryview(band.data).cast("B")
        while left:
            left = left[self.file.readinto(left) :]
        return torch.from_numpy(band).transpose(0, 1)[None].to(self.device)


def _temporary_file(size: int) -> "tempfile._TemporaryFileWrapper[bytes]":
    """An unnamed file of `size` bytes, deleted with this process. Raises `CycleGANError` when the disk is too full."""
    large = Path("/var/tmp")  # where /tmp may be in memory  # nosec B108: the file has no name
    use_default = "TMPDIR" in os.environ or not os.access(large, os.W_OK)
    folder = Path(tempfile.gettempdir()) if use_default else large
    if shutil.disk_usage(folder).free < size:
        raise CycleGANError(
            f"{folder} has no space for {size / 2**30:.1f} GiB of intermediate results; "
            "set TMPDIR to a folder on a larger disk, or allow more --memory."
        )
    return tempfile.TemporaryFile(buffering=0, dir=folder)  # type: ignore[return-value]
