"""A data set's folder appears whole or not at all, and says what it is."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cyclegan.errors import CycleGANError

MARKER = ".cyclegan-data.json"
FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def new_folder(to: Path) -> Iterator[Path]:
    """A temporary folder beside `to` that takes its place when the block ends well, and is gone otherwise.

    If all it holds is one folder that is no part of a data set, such as horse2zebra, that one takes the place. Raises
    `CycleGANError` if `to` is there and not empty, or cannot be written.
    """
    to = Path(os.path.abspath(to))  # noqa: PTH100  ("." has no name to put a temporary one beside)
    require_free(to)
    temporary = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if to.exists():
            to.rmdir()
        unwrapped(temporary).rename(to)
    except OSError as error:
        if error.errno in FULL:
            raise CycleGANError(f"The disk of {to} is full; nothing was written, make room and try again.") from None
        raise CycleGANError(f"{to} cannot be written: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_free(to: Path) -> None:
    """Raise `CycleGANError` if there is something at `to` that a new folder would have to replace."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise CycleGANError(f"{to} exists and is not empty; remove it, or choose another folder with -o.")


def unwrapped(folder: Path) -> Path:
    """The folder that holds the data, below wrappings of a single folder."""
    while True:
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
        if len(inside) != 1 or not inside[0].is_dir() or _is_part(inside[0].name):
            return folder
        folder = inside[0]


def _is_part(name: str) -> bool:
    """Whether a folder of this name, such as train, testA or B, is a part of a data set."""
    return name.lower() in {f"{split}{side}" for split in ("train", "test", "val", "") for side in ("a", "b", "")}


def mark(folder: Path, name: str, sha256: str | None = None) -> None:
    """Leave a hidden note in a data set's folder of what it is, and of what archive."""
    (folder / MARKER).write_text(json.dumps({"name": name, "sha256": sha256}) + "\n", encoding="utf-8")


def is_marked(folder: Path, name: str) -> bool:
    """Whether a folder holds the data set of this name, whole."""
    try:
        return bool(json.loads((folder / MARKER).read_text(encoding="utf-8"))["name"] == name)
    except (OSError, ValueError, KeyError, TypeError):
        return False
