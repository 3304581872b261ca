"""The software and hardware in use, for `cyclegan env`, for the record of a run, and for bug reports."""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch
from packaging.requirements import Requirement

from cyclegan._version import __version__
from cyclegan.system.atomic import write_text
from cyclegan.system.machine import cpu_count, user_cache_dir
from cyclegan.system.text import quote

FILE = "environment.json"


def describe_environment() -> dict[str, str]:
    """Versions and hardware by name. Holds neither the machine's nor the user's name."""
    facts = {
        "cyclegan": __version__ + (f", git {revision[:12]}" if (revision := git_revision()) else ""),
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "System": platform.platform(),
        "CPU": f"{_cpu_name()}, {cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}",
        "Memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
    }
    for index in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(index)
        facts[f"cuda:{index}"] = f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, capability {gpu.major}.{gpu.minor}"
    if torch.backends.mps.is_available():
        facts["mps"] = f"{torch.mps.recommended_max_memory() / 2**30:.0f} GiB"
    if torch.version.cuda:
        facts["CUDA"] = f"{torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}{_driver()}"  # type: ignore[no-untyped-call]
    return facts


def record_environment(run: Path) -> None:
    """Append the environment, the date and the command line of this start to the run's ``environment.json``."""
    start = {"date": datetime.now().astimezone().isoformat(timespec="seconds"), "command": command_line()}
    write_text(run / FILE, json.dumps([*read_environments(run), start | describe_environment()], indent=2) + "\n")


def read_environments(run: Path) -> list[dict[str, str]]:
    """What `record_environment` wrote at each start of the run, oldest first; empty if there is nothing readable."""
    with suppress(OSError, ValueError):
        starts: Any = json.loads((run / FILE).read_text(encoding="utf-8"))
        return [{str(name): str(value) for name, value in start.items()} for start in starts if isinstance(start, dict)]
    return []


def command_line() -> str:
    """The command that started this process, quoted for a shell."""
    program = Path(sys.argv[0])  # .../cyclegan/__main__.py after `python -m cyclegan`
    return quote(program.parent.name if program.name == "__main__.py" else program.name, *sys.argv[1:])


def git_revision() -> str | None:
    """The commit that this package is from, if it was installed from git or runs in a working tree."""
    with suppress(metadata.PackageNotFoundError, ValueError, KeyError):
        installed = metadata.distribution("cyclegan").read_text("direct_url.json")
        return str(json.loads(installed or "")["vcs_info"]["commit_id"])
    package = Path(__file__).resolve().parents[1]
    if (package.parents[1] / ".git").exists():
        with suppress(OSError, subprocess.SubprocessError):
            command = ["git", "-C", str(package), "rev-parse", "HEAD"]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    return None


def extras() -> dict[str, list[str]]:
    """The package's extras, each with the libraries that are missing for it."""
    try:
        requirements = [Requirement(line) for line in metadata.requires("cyclegan") or []]
        names = metadata.metadata("cyclegan").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:  # runs from a source tree that was not installed
        return {}
    needed = {
        name: [r for r in requirements if r.marker and r.marker.evaluate({"extra": name}) and r.name != "cyclegan"]
        for name in names
    }
    return {name: [r.name for r in needed[name] if not _is_installed(r)] for name in names if needed[name]}


def caches() -> Iterator[tuple[str, Path, int]]:
    """What is in the user's cache folder: name, path and size in bytes of each entry."""
    folder = user_cache_dir()
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        files = path.rglob("*") if path.is_dir() else [path]
        yield path.name, path, sum(file.stat().st_size for file in files if file.is_file())


def _is_installed(requirement: Requirement) -> bool:
    with suppress(metadata.PackageNotFoundError):
        return requirement.specifier.contains(metadata.version(requirement.name), prereleases=True)
    return False


def _cpu_name() -> str:
    with suppress(OSError):
        if found := re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return found[1]
    return platform.processor() or platform.machine()


def _driver() -> str:
    with suppress(OSError):
        if found := re.search(r"\s(\d+\.[\d.]+)\s", Path("/proc/driver/nvidia/version").read_text()):
            return f", driver {found[1]}"
    return ""
