"""Images of any size: whole if that fits into memory, else in bands; and how much memory is free and needed."""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import psutil
import torch
from torch import Tensor, nn

from cyclegan.errors import UsageError
from cyclegan.networks.generator import Generator
from cyclegan.networks.winograd import Conv3x3, is_faster, scratch
from cyclegan.system.machine import free_memory, local_processes
from cyclegan.translation.exported import ExportedGenerator
from cyclegan.translation.streaming.executor import Progress, stream
from cyclegan.translation.streaming.lazy_rows import WINOGRAD, Source

Read = Callable[[int, int], Tensor]  # rows first to end - 1 of an image, (C, h, W) in [-1, 1]
Write = Callable[[int, Tensor], None]  # called with the first row and rows (C, h, W) of the result, on the CPU

KERNELS = 1 + 80 / 9  # times a generator's weights: F(6x8, 3x3) has 8x10 products for a kernel of 3x3
DEFAULT_SHARE = 0.8  # of the free memory, without a limit
OVERHEAD = 1.1  # of the allocator, as a factor
TRIAL_SIDE = 64  # pixels of the image on which memory is estimated, or the next multiple that the generator takes
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass
class AnySize:
    """A generator with a memory limit; `channels` are those of input images.

    `whole` is the same generator for images that fit, perhaps rewritten for CPUs. `memory` is in bytes, for the process
    or on a GPU for the arrays there; None is a share of the free memory. `progress` is called with the number of
    finished bands and of all.
    """

    generator: Generator
    whole: Generator
    channels: int
    device: torch.device
    memory: int | None = None
    progress: Progress = lambda done, total: None

    def fits(self, height: int, width: int, images: int = 1) -> bool:
        """Whether images can be translated whole. An estimate; exports are assumed to fit."""
        if isinstance(self.generator, ExportedGenerator):
            return True
        multiple = self.generator.size_multiple
        height, width = (-(-side // multiple) * multiple for side in (height, width))  # as the generator extends them
        needed = images * height * width * self._bytes_per_pixel + self._kernel_bytes
        if needed > self._free():
            scratch.release()  # buffers of the previous image count as used
        return needed <= self._free()

    def translate(self, height: int, width: int, read: Read, write: Write) -> None:
        """Translate an image in bands, which are read as often as needed, and written top to bottom.

        Raises `UsageError` when there is too little memory for any band, or the generator cannot be streamed;
        `CycleGANError` when the disk has no space.
        """
        image = Source(self.channels, height, width, lambda first, end: read(first, end)[None].to(self.device))

        def write_band(first: int, band: Tensor) -> None:
            write(first, band[0].float().cpu())

        with torch.inference_mode():
            stream(self.generator, image, self._free(), write_band, self.progress)

    @cached_property
    def _bytes_per_pixel(self) -> float:
        return bytes_per_pixel(self.generator, self.channels, self.device)

    @cached_property
    def _kernel_bytes(self) -> int:
        """Bytes that the rewritten generator keeps: its transformed kernels, and a copy of them."""
        if self.whole is self.generator:
            return 0
        return int(KERNELS * sum(weights.nbytes for weights in self.generator.parameters()))

    def _free(self) -> int:
        return budget(self.memory, self.device)


def parse_bytes(text: str) -> int:
    """A size such as ``2GiB``, ``1.5G`` (the same unit), ``800MB`` (decimal) or ``100000`` in bytes.

    Raises `UsageError` for other text.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(IB|B)?", text.strip().upper())
    if not match or not float(match[1]):
        raise UsageError(f"{text!r} is not a size of memory; write it as 2GiB or 800MiB.")
    unit = match[2] + ("B" if match[2] and match[3] == "B" else "")
    return int(float(match[1]) * _UNITS[unit])


def budget(limit: int | None, device: torch.device) -> int:
    """Bytes that may be allocated now: up to a limit for the whole process, or a share of the free memory.

    For a GPU this is its own memory. Processes on one machine share its free memory equally. Negative where the limit
    is exceeded.
    """
    if device.type == "cuda":
        if limit is None:
            return int(DEFAULT_SHARE * torch.cuda.mem_get_info(device)[0])
        return limit - torch.cuda.memory_allocated(device)
    if limit is None:
        return int(DEFAULT_SHARE * free_memory()) // local_processes(1, "cpu")
    return limit - psutil.Process().memory_info().rss


def bytes_per_pixel(generator: Generator, channels: int, device: torch.device) -> float:
    """Bytes that a generator needs for each pixel of an image (`channels`, H, W) that it translates whole.

    Measured on a small image, where all arrays have the same proportions. Each running module holds its input until it
    returns, so that at any time the inputs of all modules from the outermost to the innermost exist, and the output of
    the latter. Convolutions copy both into another memory layout, transposed ones their output twice; those by
    Winograd's algorithm keep scratch memory. Small images have more border, so that this is rather too much.
    """
    side = -(-TRIAL_SIDE // generator.size_multiple) * generator.size_multiple
    shared = {id(t): t for t in (*generator.parameters(), *generator.buffers())}
    trial = copy.deepcopy(generator, shared)  # a copy, since other threads may be using the generator
    inputs: list[Tensor] = []
    most, scratch = 0, 0.0

    def enter(module: nn.Module, arguments: tuple[Tensor]) -> None:
        inputs.append(arguments[0])

    def leave(module: nn.Module, arguments: tuple[Tensor], result: Tensor) -> None:
        nonlocal most, scratch
        sizes = {t.data_ptr(): t.nbytes for t in (*inputs, result)}
        own = inputs.pop().nbytes, result.nbytes
        if isinstance(module, Conv3x3) and is_faster(arguments[0], module.weight):
            scratch = max(scratch, WINOGRAD * sum(own))
        copied = sum(own) if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) else 0
        copied += result.nbytes if isinstance(module, nn.ConvTranspose2d) else 0
        most = max(most, sum(sizes.values()) + copied)

    for module in trial.modules():
        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)
    with torch.inference_mode():
        trial(torch.zeros(1, channels, side, side, device=device))
    return OVERHEAD * (most + scratch) / side**2
