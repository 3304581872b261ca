"""Files and folders that appear complete or not at all, whenever the process is killed."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cyclegan.errors import CycleGANError


@contextmanager
def staged_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it to `path` when the block succeeds. Creates missing folders.

    The temporary file keeps the suffix, by which writers choose their format. After an error it is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}{path.suffix.lower()}")
    try:
        yield temporary
        temporary.replace(path)
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
            folder.rename(older)
        newer.rename(folder)
        shutil.rmtree(older, ignore_errors=True)
    finally:
        shutil.rmtree(newer, ignore_errors=True)
