"""Images of any size: whole if that fits into memory, else in bands, exactly, or in windows, approximately."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil, sqrt

import torch
from torch import Tensor, nn

from cyclegan.errors import UsageError
from cyclegan.methods.method import Method
from cyclegan.networks.winograd import scratch
from cyclegan.translation.exported import ExportedGenerator
from cyclegan.translation.streaming.blend import Overlaps, in_windows
from cyclegan.translation.streaming.executor import Progress, Walk, in_bands, translated
from cyclegan.translation.streaming.lazy_rows import Joined, Pointwise, Rows, Source
from cyclegan.translation.streaming.memory import budget, whole_pass

Read = Callable[[int, int], Tensor]  # rows first to end - 1 of an image, (C, h, W) in [-1, 1]
Write = Callable[[int, Tensor], None]  # takes the first row and rows (C, h, W) of a result, on the CPU

LEAST_SIDE = 256  # of a window: with less, its statistics say little of the image
KERNELS = 1 + 80 / 9  # times a generator's weights: F(6x8, 3x3) has 8x10 products where the kernel has 3x3
FADED = 5  # arrays over a row of windows: read, translated, added up, and what is shared with the next row


@dataclass
class AnySize:
    """A generator and how much memory it may take; `channels` are those of the images in and out.

    `whole` is the same generator as it translates what fits, perhaps rewritten to be faster.
    `memory` is in bytes, for the process or on a GPU for the arrays there; a share of what is free if None.
    `progress` is told how many bands or windows of an image are done, and how many there are. `overlaps` tells how
    much windows differed, over all images.
    """

    generator: nn.Module
    whole: nn.Module
    channels: tuple[int, int]
    device: torch.device
    method: type[Method] = Method
    memory: int | None = None
    blend: bool = False
    progress: Progress = lambda done, total: None
    overlaps: Overlaps = field(default_factory=Overlaps)

    def fits(self, height: int, width: int, images: int = 1) -> bool:
        """Whether images can be translated whole, as far as can be told beforehand: of exports nothing can."""
        if isinstance(self.generator, ExportedGenerator):
            return True
        needed = images * self._padded(height) * self._padded(width) * self._for_a_pixel + self._kernels
        if needed > self._left():
            scratch.release()  # what the last image needed counts as in use
        return needed <= self._left()

    def translate(self, height: int, width: int, read: Read, write: Write) -> None:
        """Translate an image in parts, which are read as often as necessary and written from the top down.

        Raises `UsageError` when the memory is too little for any part, or when the generator is of another kind than
        this package's and can only be translated whole or with `blend`, and `CycleGANError` when the disk has no room.
        """
        inner, _ = self.method.generator_channels(self.channels)
        image = Source(self.channels[0], height, width, lambda first, end: read(first, end)[None].to(self.device))

        def walked(walk: Walk) -> Rows:
            given = Pointwise(image, self.method.to_generator, inner)
            made = translated(self.generator, given, walk)
            return Joined(image, made, self.method.from_generator, self.channels[1])

        left = self._left()
        with torch.inference_mode():
            if self.blend:
                self._in_windows(image, left, write)
            else:
                in_bands(walked, left, lambda first, band: write(first, band[0].float().cpu()), self.progress)

    def _in_windows(self, image: Rows, left: int, write: Write) -> None:
        """In the largest squares that fit together with a row of their results."""
        faded = FADED * 4 * self.channels[1] * image.width
        side = (sqrt(faded**2 + 4 * self._for_a_pixel * max(0, left)) - faded) / (2 * self._for_a_pixel)
        if side < LEAST_SIDE:
            more = (LEAST_SIDE * (LEAST_SIDE * self._for_a_pixel + faded) - left) / 2**20
            raise UsageError(
                f"There is too little memory for windows of {LEAST_SIDE}x{LEAST_SIDE} pixels; "
                f"{ceil(more)} MiB more are needed."
            )
        step = self._padded(1)
        side = int(side) // step * step
        in_windows(
            lambda window: self.method.image_to_image(self.whole, window),
            image, side, write, self.progress, self.overlaps,
        )  # fmt: skip

    @cached_property
    def _for_a_pixel(self) -> float:
        return whole_pass(self.generator, self.method.generator_channels(self.channels)[0], self.device)

    @cached_property
    def _kernels(self) -> int:
        """Bytes that the rewritten generator keeps: its kernels, transformed, and a copy of them."""
        if self.whole is self.generator:
            return 0
        return int(KERNELS * sum(weights.nbytes for weights in self.generator.parameters()))

    def _left(self) -> int:
        return budget(self.memory, self.device)

    def _padded(self, side: int) -> int:
        """A side as the generator extends it."""
        multiple = getattr(self.generator, "multiple", 4)
        return -(-side // multiple) * multiple
