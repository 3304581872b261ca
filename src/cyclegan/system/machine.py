"""What the machine offers: CPU cores, memory, devices, and the user's cache folder."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import psutil

from cyclegan.errors import UsageError

if TYPE_CHECKING:
    import torch


def cpu_count() -> int:
    """Number of CPU cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Bytes of available memory, within the limits of the process's control groups."""
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, IndexError):
        group = Path("/proc/self/cgroup").read_text(encoding="utf-8").split("0::", 1)[1].splitlines()[0]
        folder = Path("/sys/fs/cgroup" + group)
        for each in (folder, *folder.parents):
            with suppress(OSError, ValueError):  # no such file, or no limit: "max"
                limit, current = (int((each / f"memory.{name}").read_text()) for name in ("max", "current"))
                cached = re.search(r"^file (\d+)", (each / "memory.stat").read_text(), re.MULTILINE)  # counts as free
                free = min(free, limit - current + (int(cached[1]) if cached else 0))
    return free


def peak_memory(device: torch.device) -> float:
    """Peak memory in GiB: of the CUDA device, otherwise of this process."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**30
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 2**30
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def user_cache_dir() -> Path:
    """The user's folder for files kept between runs, such as ``~/.cache/cyclegan`` on Linux."""
    return platformdirs.user_cache_path("cyclegan", appauthor=False)


def gpu_memory(device: str) -> float | None:
    """Memory in GiB of the GPU that `device` selects, or None if it selects the CPU."""
    import torch

    if _selects_cuda(device):
        return float(torch.cuda.get_device_properties(0).total_memory) / 2**30
    if device in ("auto", "mps", "gpu") and torch.backends.mps.is_available():
        return torch.mps.recommended_max_memory() / 2**30
    return None


def device_count(device: str) -> int:
    """Number of GPUs that `device` offers; 1 if it selects the CPU."""
    import torch

    return torch.cuda.device_count() if _selects_cuda(device) else 1


def local_processes(devices: int | str, device: str) -> int:
    """Processes of a run on this machine: those of `torchrun` or `fabric run`, else `devices`, "auto" for all GPUs."""
    started = os.environ.get("LOCAL_WORLD_SIZE")
    return int(started or (device_count(device) if devices == "auto" else devices))


def has_bfloat16(device: str) -> bool:
    """Whether the GPU that `device` selects computes in bfloat16 at full speed, as NVIDIA's do since Ampere."""
    import torch

    return _selects_cuda(device) and torch.cuda.get_device_capability(0) >= (8, 0)


def cpu_has_bfloat16() -> bool | None:
    """Whether the CPU multiplies in bfloat16, by AVX512-BF16 or AMX; None if torch cannot tell."""
    import torch

    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if found.get("architecture") != "x86_64":
        return None
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def _selects_cuda(device: str) -> bool:
    import torch

    return device in ("auto", "cuda", "gpu") and torch.cuda.is_available()


def find_device(name: str) -> torch.device:
    """The device `name`; "auto" selects a GPU if available. Raises `UsageError` for devices that do not work."""
    import torch

    if name in ("auto", "gpu"):
        other = "mps" if torch.backends.mps.is_available() else name.replace("auto", "cpu")
        name = "cuda" if torch.cuda.is_available() else other
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()  # rejects "meta", which stores no values
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        raise UsageError(f"The device {name!r} is not available on this machine; use 'auto' or 'cpu'.") from None
    return device
