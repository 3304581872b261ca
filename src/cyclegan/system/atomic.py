"""Files and folders that appear complete or not at all, whenever the process is killed."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from cyclegan.errors import CycleGANError

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


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it to `path` when the block succeeds. Creates missing folders.

    The temporary file keeps the suffix, by which writers choose their format. After an error it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}{path.suffix.lower()}")
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
