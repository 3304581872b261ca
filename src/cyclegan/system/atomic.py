"""Text files that are written whole or not at all."""

import os
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cyclegan.errors import CycleGANError


def write_whole(text: str, path: Path) -> None:
    """Write a text file under a temporary name first; what UTF-8 has no sign for becomes "?".

    Raises `CycleGANError` when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", errors="replace")
        temporary.replace(path)
    except OSError as error:
        raise CycleGANError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        temporary.unlink(missing_ok=True)


def place(path: Path, write: Callable[[Path], object]) -> None:
    """Let a file be written under a temporary name, and move it to its place; missing folders are made.

    Raises `CycleGANError` when that cannot be.
    """
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}{path.suffix.lower()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(path)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise CycleGANError(f"{path} cannot be written: {reason}.") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def exchange(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new folder, and put it in the place of `folder`, which is the old or the new one, whole.

    A kill between the two renames leaves the old one as ``.NAME-older``.
    """
    newer, older = (folder.with_name(f".{folder.name}-{age}") for age in ("newer", "older"))
    try:
        shutil.rmtree(newer, ignore_errors=True)
        newer.mkdir(parents=True)
        write(newer)
        if folder.exists():  # if a kill left `older` alone, it is the only one until `newer` stands
            shutil.rmtree(older, ignore_errors=True)
            folder.rename(older)
        newer.rename(folder)
        shutil.rmtree(older, ignore_errors=True)
    finally:
        shutil.rmtree(newer, ignore_errors=True)
