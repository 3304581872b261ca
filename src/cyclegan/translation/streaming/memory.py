"""How much memory there is, and how much translating an image takes."""

import copy
import re

import psutil
import torch
from torch import Tensor, nn

from cyclegan.errors import UsageError
from cyclegan.networks.winograd import Conv3x3, pays
from cyclegan.system.machine import free_memory
from cyclegan.translation.streaming.lazy_rows import WINOGRAD

SHARE = 0.8  # of the memory that is available, if nobody says how much
SPARE = 1.1  # of an estimate: what the allocator loses between arrays
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def in_bytes(text: str) -> int:
    """A size such as ``2GiB``, ``1.5G`` (the same unit), ``800MB`` (decimal) or ``100000`` in bytes.

    Raises `UsageError` for what is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(IB|B)?", text.strip().upper())
    if not match or not float(match[1]):
        raise UsageError(f"{text!r} is no size of memory; write it as 2GiB or 800MiB.")
    unit = match[2] + ("B" if match[2] and match[3] == "B" else "")
    return int(float(match[1]) * _UNITS[unit])


def budget(limit: int | None, device: torch.device) -> int:
    """Bytes that may be used beside what is in use now: up to a limit for the whole process, or a share of the rest.

    On a GPU its memory is meant. Negative where the limit has been reached.
    """
    if limit is None:
        return int(SHARE * available(device))
    used = torch.cuda.memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss
    return limit - used


def available(device: torch.device) -> int:
    """Bytes that are free now, on the GPU or in the machine; those of a container if it has fewer."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory()


def whole_pass(generator: nn.Module, channels: int, device: torch.device) -> float:
    """Bytes that a generator takes for each pixel of an image when it translates it whole.

    Found on a small image, where all arrays are as large in proportion. Each module that is at work holds what it was
    given until it returns, so at any time there are the inputs of all modules from the outermost to the innermost, and
    the latter's output. Convolutions copy both into an order of their own, transposed ones their output twice; those by
    Winograd's way keep their scratch memory. Small images have more border, so that this is rather too much.
    """
    side = getattr(generator, "multiple", 64)
    shared = {id(t): t for t in (*generator.parameters(), *generator.buffers())}
    rehearsal = copy.deepcopy(generator, shared)  # a copy, since others may be using the generator
    given: list[Tensor] = []
    most, scratch = 0, 0.0

    def enter(module: nn.Module, arguments: tuple[Tensor]) -> None:
        given.append(arguments[0])

    def leave(module: nn.Module, arguments: tuple[Tensor], result: Tensor) -> None:
        nonlocal most, scratch
        sizes = {t.data_ptr(): t.nbytes for t in (*given, result)}
        own = given.pop().nbytes, result.nbytes
        if isinstance(module, Conv3x3) and pays(arguments[0], module.weight):
            scratch = max(scratch, WINOGRAD * sum(own))
        copied = sum(own) if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) else 0
        copied += result.nbytes if isinstance(module, nn.ConvTranspose2d) else 0
        most = max(most, sum(sizes.values()) + copied)

    for module in rehearsal.modules():
        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)
    with torch.inference_mode():
        rehearsal(torch.zeros(1, channels, side, side, device=device))
    return SPARE * (most + scratch) / side**2
