"""What the machine offers a program: processors, free memory, and a place to keep things between runs."""

import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from cyclegan.errors import UsageError


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Bytes of memory that are free now; those that the process's control groups leave if that is less."""
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, IndexError):
        group = Path("/proc/self/cgroup").read_text(encoding="utf-8").split("0::", 1)[1].splitlines()[0]
        folder = Path("/sys/fs/cgroup" + group)
        for each in (folder, *folder.parents):
            with suppress(OSError, ValueError):  # no such file, or no limit: "max"
                free = min(free, _left_to(each))
    return free


def _left_to(group: Path) -> int:
    """Bytes up to the limit of a control group; its files in the cache would make room."""
    most = int((group / "memory.max").read_text(encoding="utf-8"))
    current = int((group / "memory.current").read_text(encoding="utf-8"))
    cached = re.search(r"^file (\d+)", (group / "memory.stat").read_text(encoding="utf-8"), re.MULTILINE)
    return most - current + (int(cached[1]) if cached else 0)


def peak_memory(device: "torch.device") -> float:
    """Peak memory in GiB: of the GPU, or of this process where there is none."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**30
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 2**30
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def user_folder() -> Path:
    """The user's folder for what this program may keep between its runs."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(home) / "cyclegan"


def gpu_memory(device: str) -> float | None:
    """Memory in GiB of the GPU that training will use, or None when it will use the CPU."""
    import torch

    if device in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory) / 2**30
    if device in ("auto", "mps", "gpu") and torch.backends.mps.is_available():
        return torch.mps.recommended_max_memory() / 2**30
    return None


def find_device(name: str) -> torch.device:
    """The device of that name, or for "auto" a GPU where there is one. Raises `UsageError` when there is none such."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()  # "meta" would take it and give nothing back
    except (RuntimeError, AssertionError, NotImplementedError, ImportError):
        raise UsageError(f"There is no device {name!r} on this machine; 'auto' takes what there is.") from None
    return device
