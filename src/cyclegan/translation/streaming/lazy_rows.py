"""Arrays of which bands of rows can be asked for: what a network's layers make of one another, computed on demand."""

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
Bands = Iterator[tuple[int, int]]  # first and end rows of bands, from the top down

WINOGRAD = 4.5  # numbers that Winograd's way keeps for each number of its input and of its output


class Rows(ABC):
    """An array (channels, height, width) of which bands of rows can be asked for, in any order.

    `load` is how many numbers are in memory at once, for each pixel of a band, while the band is computed; `kept`
    says that reading a band again costs next to nothing.
    """

    kept = False

    def __init__(self, channels: int, height: int, width: int, load: float):
        self.channels, self.height, self.width, self.load = channels, height, width, load

    @abstractmethod
    def rows(self, first: int, end: int) -> Tensor:
        """Rows first to end - 1 as (1, channels, end - first, width). Not to be written to."""


class Source(Rows):
    """What a function reads: an image."""

    kept = True

    def __init__(self, channels: int, height: int, width: int, read: Read):
        super().__init__(channels, height, width, 2 * channels)
        self.read = read

    def rows(self, first: int, end: int) -> Tensor:
        """Read anew at each call."""
        return self.read(first, end)


class Pointwise(Rows):
    """A function of each pixel alone."""

    def __init__(self, below: Rows, function: Callable[[Tensor], Tensor], channels: int | None = None):
        channels = channels or below.channels
        super().__init__(channels, below.height, below.width, max(below.load, below.channels + channels))
        self.below, self.function, self.kept = below, function, below.kept

    def rows(self, first: int, end: int) -> Tensor:
        """Computed anew at each call."""
        return self.function(self.below.rows(first, end))


class Cut(Rows):
    """The first rows and columns of an array."""

    def __init__(self, below: Rows, height: int, width: int):
        super().__init__(below.channels, height, width, below.load)
        self.below = below

    def rows(self, first: int, end: int) -> Tensor:
        """Computed anew at each call."""
        return self.below.rows(first, end)[..., : self.width]


class Dropped(Rows):
    """Dropout with a fixed seed: what it keeps of the array is drawn once, and held as single bits."""

    def __init__(self, below: Rows, layer: Dropout):
        super().__init__(below.channels, below.height, below.width, max(below.load, 3 * below.channels))
        self.below, self.layer, self.bits = below, layer, np.empty(0, np.uint8)

    def rows(self, first: int, end: int) -> Tensor:
        """What is kept of these rows, scaled as the layer does."""
        if not len(self.bits):
            size = self.height, self.width
            self.bits = np.stack([np.packbits(kept, axis=1) for kept in self.layer.kept(self.channels, *size)])
        kept = torch.from_numpy(np.unpackbits(self.bits[:, first:end], axis=2, count=self.width))
        band = self.below.rows(first, end)
        return band * kept.to(band) / (1 - self.layer.p)


class Joined(Rows):
    """Two arrays side by side or added, whatever the function makes of them."""

    def __init__(self, below: Rows, branch: Rows, join: Callable[[Tensor, Tensor], Tensor], channels: int):
        load = below.channels + max(below.load, branch.load, branch.channels + channels)
        super().__init__(channels, below.height, below.width, load)
        self.below, self.branch, self.join = below, branch, join

    def rows(self, first: int, end: int) -> Tensor:
        """Computed anew at each call."""
        return self.join(self.below.rows(first, end), self.branch.rows(first, end))


class Mirrored(Rows):
    """An array that goes on over its borders by reflection, by so many rows and columns on each side."""

    def __init__(self, below: Rows, top: int, bottom: int, left: int, right: int):
        height, width = below.height + top + bottom, below.width + left + right
        super().__init__(below.channels, height, width, max(below.load, 3 * below.channels))
        self.below = below
        self.of_rows, self.of_columns = _mirrored(below.height, top, bottom), _mirrored(below.width, left, right)

    def rows(self, first: int, end: int) -> Tensor:
        """The rows below, with reflected ones where the band reaches over the border."""
        wanted = self.of_rows[first:end]
        lowest, highest = int(wanted.min()), int(wanted.max()) + 1
        band = self.below.rows(lowest, highest)
        if wanted[0] != lowest or highest - lowest != len(wanted):  # a border is in it
            band = band.index_select(2, (wanted - lowest).to(band.device))
        return band.index_select(3, self.of_columns.to(band.device))


def _mirrored(size: int, before: int, after: int) -> Tensor:
    """Where in 0 to size - 1 each position is found, from so many before the first to so many after the last."""
    position = torch.arange(-before, size + after).abs() % max(1, 2 * size - 2)
    return torch.minimum(position, (2 * size - 2 - position).abs())


class Local(Rows):
    """What a layer makes of an array, each row from a few rows below.

    The layer itself is called with a band and the rows around it. It takes the band's borders for the image's, and
    what it makes wrongly there is cut off.
    """

    def __init__(self, below: Rows, layer: nn.Module):
        self.scale, self.before, self.after, size = _geometry(layer)
        channels = getattr(layer, "out_channels", below.channels)
        area = float(1 / self.scale**2)  # pixels below, for each of ours
        given = below.channels * area
        load = max(below.load * area, given + channels + 2 * max(given, channels))  # convolutions copy both
        if isinstance(layer, Conv3x3):
            load = max(load, (WINOGRAD + 1) * (given + channels))
        super().__init__(channels, size(below.height), size(below.width), load)
        self.below, self.layer = below, layer

    def rows(self, first: int, end: int) -> Tensor:
        """Computed anew at each call."""
        lowest = max(0, floor(first / self.scale) - self.before)
        lowest -= lowest % max(1, int(1 / self.scale))  # where the layer's steps begin
        highest = min(self.below.height, floor((end - 1) / self.scale) + 1 + self.after)
        top = int(lowest * self.scale)
        band: Tensor = self.layer(self.below.rows(lowest, highest))
        return band[:, :, first - top : end - top]


def _geometry(layer: nn.Module) -> tuple[Fraction, int, int, Callable[[int], int]]:
    """Rows made of one row; rows needed before and after those that lie under a row; the size made of a size."""
    if isinstance(layer, BlurDown):
        return Fraction(1, 2), 1, 1, lambda size: ceil(size / 2)
    if isinstance(layer, BlurUp):
        return Fraction(2), 1, 1, lambda size: 2 * size
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
    raise UsageError(f"A generator with {type(layer).__name__} cannot be walked in bands.")


class Kept(Rows):
    """An array computed once, band by band, and kept in memory or in a temporary file, rows one after another."""

    kept = True

    def __init__(self, below: Rows, bands: Bands, on_disk: bool):
        super().__init__(below.channels, below.height, below.width, 2 * below.channels)
        self.row_bytes = 4 * self.channels * self.width
        self.memory = None if on_disk else torch.empty(self.height, self.channels, self.width)
        self.file = _scratch_file(self.row_bytes * self.height) if on_disk else None
        self.device = torch.device("cpu")
        for first, end in bands:
            band = below.rows(first, end)[0].transpose(0, 1)
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

    def rows(self, first: int, end: int) -> Tensor:
        """Read back."""
        if self.memory is not None:
            return self.memory[first:end].transpose(0, 1)[None].to(self.device)
        band = np.empty((end - first, self.channels, self.width), np.float32)
        assert self.file is not None
        self.file.seek(first * self.row_bytes)
        left = memoryview(band.data).cast("B")
        while left:
            left = left[self.file.readinto(left) :]
        return torch.from_numpy(band).transpose(0, 1)[None].to(self.device)


def _scratch_file(size: int) -> "tempfile._TemporaryFileWrapper[bytes]":
    """An unnamed file for so many bytes, which vanishes with this process. Raises `CycleGANError` without room."""
    large = Path("/var/tmp")  # where it exists, /tmp may be a part of the memory itself
    chosen = "TMPDIR" in os.environ or not os.access(large, os.W_OK)
    folder = Path(tempfile.gettempdir()) if chosen else large
    if shutil.disk_usage(folder).free < size:
        raise CycleGANError(
            f"{folder} has no room for {size / 2**30:.1f} GiB of intermediate results; "
            "let TMPDIR name a folder on a larger disk, or give more --memory."
        )
    return tempfile.TemporaryFile(buffering=0, dir=folder)  # type: ignore[return-value]
