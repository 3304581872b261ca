"""Files and folders that appear complete or not at all, whenever the process is killed."""

import os
import platform
import shutil
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import psutil

from cyclegan.errors import CycleGANError
from cyclegan.system.remote import is_remote, upload

# Seconds between attempts. Windows refuses to rename what another program has open, be it a virus scanner.
BUSY_DELAYS = (0.05, 0.1, 0.2, 0.4, 0.8) if sys.platform == "win32" else ()


def rename(source: Path, target: Path, delays: Sequence[float] = BUSY_DELAYS) -> None:
    """Rename a file, which may replace another one, or a folder; waits for programs that have it open on Windows."""
    for delay in delays:
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(delay)
        else:
            return
    source.replace(target)


# Names carry the machine and the process, so that the files of a killed process can be told from those of a live one.
_OWNER = f".cyclegan-{zlib.crc32(platform.node().encode()):08x}-"


def temporary_path(folder: Path, name: str) -> Path:
    """A path in `folder` for a file or folder that is renamed to its own name when it is complete.

    The first call for a folder deletes what killed processes of this machine have left in it.
    """
    _delete_abandoned(folder)
    return folder / f"{_OWNER}{os.getpid()}-{name}"


@lru_cache(maxsize=1024)
def _delete_abandoned(folder: Path) -> None:
    for path in folder.glob(f"{_OWNER}*"):
        with suppress(ValueError, OSError):
            if not psutil.pid_exists(int(path.name.removeprefix(_OWNER).split("-")[0])):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it to `path` when the block succeeds. Creates missing folders.

    The temporary file keeps the suffix, by which writers choose their format. After an error it is removed. What is
    for another machine is uploaded when it is complete.
    """
    if is_remote(path):
        with upload(path) as temporary:
            yield temporary
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path.parent, f"{threading.get_ident()}{path.suffix.lower()}")
    try:
        yield temporary
        rename(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_file(path: Path, writer: Callable[[Path], object]) -> None:
    """Write a file by `writer(temporary_path)`. Raises `CycleGANError` when it cannot be written."""
    try:
        with staged_file(path) as temporary:
            writer(temporary)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise CycleGANError(f"{path} cannot be written: {reason}.") from None


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file; unpaired surrogates become "?". Raises `CycleGANError` when it cannot be written."""
    write_file(path, lambda temporary: temporary.write_text(text, encoding="utf-8", errors="replace"))


def replace_folder(folder: Path, fill: Callable[[Path], object]) -> None:
    """Create a folder, fill it by `fill(new_folder)`, and put it in the place of `folder`, if that exists.

    A kill between the two renames leaves the previous folder as ``.NAME-older``.
    """
    newer, older = (folder.with_name(f".{folder.name}-{age}") for age in ("newer", "older"))
    try:
        shutil.rmtree(newer, ignore_errors=True)
        newer.mkdir(parents=True)
        fill(newer)
        if folder.exists():  # otherwise `older` may be the only copy: keep it until `newer` is in place
            shutil.rmtree(older, ignore_errors=True)
            rename(folder, older)
        rename(newer, folder)
        shutil.rmtree(older, ignore_errors=True)
    finally:
        shutil.rmtree(newer, ignore_errors=True)
