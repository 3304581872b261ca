"""Data set folders that appear complete or not at all, with a marker file that names the data set."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cyclegan.errors import CycleGANError
from cyclegan.system.atomic import rename, temporary_path

MARKER = ".cyclegan-data.json"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
PART_NAMES = {f"{split}{side}" for split in ("train", "test", "val", "") for side in ("a", "b", "")}


@contextmanager
def new_folder(to: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `to`, and rename it to `to` when the block succeeds; otherwise delete it.

    If it contains a single folder that wraps the data set, such as horse2zebra, that one becomes `to`. Raises
    `CycleGANError` if `to` exists and is not empty, or cannot be written.
    """
    to = Path(os.path.abspath(to))  # noqa: PTH100  (a temporary folder cannot be next to ".")
    require_free(to)
    temporary = temporary_path(to.parent, to.name)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if to.exists():
            to.rmdir()
        rename(unwrap(temporary), to)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise CycleGANError(f"The disk of {to} is full; nothing was written, make room and try again.") from None
        raise CycleGANError(f"{to} cannot be written: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_free(to: Path) -> None:
    """Raise `CycleGANError` if `to` exists, except as an empty folder."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise CycleGANError(f"{to} exists and is not empty; remove it, or choose another folder with -o.")


def unwrap(folder: Path) -> Path:
    """The folder that contains the data, below any single wrapping folders."""
    while True:
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if len(inside) != 1 or not inside[0].is_dir() or inside[0].name.lower() in PART_NAMES:
            return folder
        folder = inside[0]


def mark(folder: Path, name: str, sha256: str | None = None) -> None:
    """Write the marker file: the name of the data set, and the checksum of its archive."""
    (folder / MARKER).write_text(json.dumps({"name": name, "sha256": sha256}) + "\n", encoding="utf-8")


def is_marked(folder: Path, name: str) -> bool:
    """Whether a folder contains the data set with this name, complete."""
    try:
        return bool(json.loads((folder / MARKER).read_text(encoding="utf-8"))["name"] == name)
    except (OSError, ValueError, KeyError, TypeError):
        return False
