"""Images of any size: whole if that fits into memory, else in bands, exactly, or in windows, approximately."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, sqrt

import torch
from torch import Tensor

from cyclegan.errors import UsageError
from cyclegan.networks.generator import Generator
from cyclegan.networks.winograd import scratch
from cyclegan.translation.exported import ExportedGenerator
from cyclegan.translation.streaming.blend import Overlaps, translate_windows
from cyclegan.translation.streaming.executor import Progress, stream
from cyclegan.translation.streaming.lazy_rows import Rows, Source
from cyclegan.translation.streaming.memory import budget, bytes_per_pixel

Read = Callable[[int, int], Tensor]  # rows first to end - 1 of an image, (C, h, W) in [-1, 1]
Write = Callable[[int, Tensor], None]  # called with the first row and rows (C, h, W) of the result, on the CPU

MIN_WINDOW = 256  # pixels of a side: the statistics of smaller windows differ too much from the image's
KERNELS = 1 + 80 / 9  # times a generator's weights: F(6x8, 3x3) has 8x10 products for a kernel of 3x3
WINDOW_ARRAYS = 5  # over a row of windows: read, translated, accumulated, and shared with the next row


@dataclass
class AnySize:
    """A generator with a memory limit; `channels` are those of input and output images.

    `whole` is the same generator for images that fit, perhaps rewritten for CPUs. `memory` is in bytes, for the process
    or on a GPU for the arrays there; None is a share of the free memory. `progress` is called with the number of
    finished bands or windows and of all. `overlaps` accumulates the differences between windows over all images.
    """

    generator: Generator
    whole: Generator
    channels: tuple[int, int]
    device: torch.device
    memory: int | None = None
    blend: bool = False
    progress: Progress = lambda done, total: None
    overlaps: Overlaps = field(default_factory=Overlaps)

    def fits(self, height: int, width: int, images: int = 1) -> bool:
        """Whether images can be translated whole. An estimate; exports are assumed to fit."""
        if isinstance(self.generator, ExportedGenerator):
            return True
        needed = images * self._padded(height) * self._padded(width) * self._bytes_per_pixel + self._kernel_bytes
        if needed > self._free():
            scratch.release()  # buffers of the previous image count as used
        return needed <= self._free()

    def translate(self, height: int, width: int, read: Read, write: Write) -> None:
        """Translate an image in parts, which are read as often as needed, and written top to bottom.

        Raises `UsageError` when there is too little memory for any part, or the generator cannot be streamed and
        `blend` is off; `CycleGANError` when the disk has no space.
        """
        image = Source(self.channels[0], height, width, lambda first, end: read(first, end)[None].to(self.device))
        free = self._free()
        with torch.inference_mode():
            if self.blend:
                side = self._window_side(image, free)
                translate_windows(self.whole, image, side, write, self.progress, self.overlaps)
            else:
                stream(
                    self.generator, image, free, lambda first, band: write(first, band[0].float().cpu()), self.progress
                )

    def _window_side(self, image: Rows, free: int) -> int:
        """The largest squares that fit together with a row of their results."""
        row = WINDOW_ARRAYS * 4 * self.channels[1] * image.width  # bytes for each row of pixels
        side = (sqrt(row**2 + 4 * self._bytes_per_pixel * max(0, free)) - row) / (2 * self._bytes_per_pixel)
        if side < MIN_WINDOW:
            more = (MIN_WINDOW * (MIN_WINDOW * self._bytes_per_pixel + row) - free) / 2**20
            raise UsageError(
                f"There is too little memory for windows of {MIN_WINDOW}x{MIN_WINDOW} pixels; "
                f"{ceil(more)} MiB more are needed."
            )
        step = self._padded(1)
        return int(side) // step * step

    @cached_property
    def _bytes_per_pixel(self) -> float:
        return bytes_per_pixel(self.generator, self.channels[0], self.device)

    @cached_property
    def _kernel_bytes(self) -> int:
        """Bytes that the rewritten generator keeps: its transformed kernels, and a copy of them."""
        if self.whole is self.generator:
            return 0
        return int(KERNELS * sum(weights.nbytes for weights in self.generator.parameters()))

    def _free(self) -> int:
        return budget(self.memory, self.device)

    def _padded(self, side: int) -> int:
        """A side as the generator extends it."""
        multiple = self.generator.size_multiple
        return -(-side // multiple) * multiple
