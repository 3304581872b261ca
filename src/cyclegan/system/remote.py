"""Files elsewhere, by addresses that fsspec knows: ``s3://``, ``gs://``, ``hf://`` and others.

They are `UPath`s, which have the methods of `Path`, and are typed as that.
"""

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from cyclegan.errors import CycleGANError, UsageError, first_line
from cyclegan.system.optional import optional_import


class RemoteError(CycleGANError):
    """A service cannot be reached, or does not have or take a file."""


def is_url(text: str) -> bool:
    """Whether this is an address such as ``https://...``, of any scheme."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) is not None


def is_remote(path: Path) -> bool:
    """Whether this is an address, and not a path on this machine."""
    return not isinstance(path, Path)


def to_path(text: str) -> Path:
    """A path on this machine, or an address. Raises `UsageError` for one of an unknown scheme."""
    if not is_url(text):
        return Path(text)
    try:
        path = optional_import("upath", "cloud").UPath(text)
        _ = path.fs  # imports its library
    except (ImportError, ValueError) as error:
        hint = '; pip install "cyclegan[cloud]" has what is needed' if isinstance(error, ImportError) else ""
        raise UsageError(f"{text} cannot be used: {first_line(error)}{hint}.") from None
    return cast(Path, path)


def find_files(given: Path) -> list[tuple[Path, str]]:
    """The files of a folder or a pattern with their names below it, sorted, without hidden ones."""
    upath: Any = given
    with _explained(given, "listed"):
        root = upath.path.rstrip("/") + "/" if upath.is_dir() else ""
        files = upath.fs.find(root) if root else upath.fs.glob(upath.path)
        named = [(file, file.removeprefix(root) if root else file.rpartition("/")[2]) for file in sorted(files)]
        return [
            (type(upath)(upath.fs.unstrip_protocol(file), **upath.storage_options), name)
            for file, name in named
            if not any(part.startswith(".") for part in name.split("/"))
        ]


def existing_in(folder: Path) -> Callable[[Path], bool]:
    """A function that says whether a path in `folder` exists; of one elsewhere by a single listing."""
    if not is_remote(folder):
        return Path.exists
    upath: Any = folder
    with _explained(folder, "listed"):
        files = set(upath.fs.find(upath.path))
    return lambda path: cast(Any, path).path in files


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """The path itself, or a temporary copy of what is elsewhere. Raises `RemoteError`."""
    if not is_remote(path):
        yield path
        return
    upath: Any = path
    with tempfile.TemporaryDirectory(prefix="cyclegan-") as folder:
        with _explained(path, "read"):
            upath.fs.get_file(upath.path, f"{folder}/{path.name}")
        yield Path(folder, path.name)


@contextmanager
def upload(path: Path) -> Iterator[Path]:
    """Yield a temporary path with the suffix of `path`, and write it there when the block succeeds."""
    upath: Any = path
    with tempfile.TemporaryDirectory(prefix="cyclegan-") as folder:
        file = Path(folder, f"file{path.suffix.lower()}")
        yield file
        with _explained(path, "written"):
            try:
                upath.fs.put_file(str(file), upath.path)
            except FileNotFoundError:  # places with real folders; buckets have none
                upath.parent.mkdir(parents=True, exist_ok=True)
                upath.fs.put_file(str(file), upath.path)


@contextmanager
def _explained(path: Path, action: str) -> Iterator[None]:
    """Any exception as a `RemoteError`: every service has its own kinds."""
    try:
        yield
    except Exception as error:
        raise RemoteError(f"{path} cannot be {action}: {first_line(error)}.") from None
