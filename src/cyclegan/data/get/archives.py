"""Unpacking untrusted zip and tar archives: nothing is written outside the folder, and sizes are limited."""

import bz2
import gzip
import lzma
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, cast

from rich.filesize import decimal

from cyclegan.data.get.checksums import BadFile

MAX_FILES = 1_000_000
MAX_GROWTH = 20  # unpacked bytes per byte of the archive; images hardly shrink, bombs reach a thousand and more
ALWAYS_ALLOWED = 100_000_000  # unpacked bytes of even the smallest archive
SYSTEM_FILES = (".DS_Store", "Thumbs.db")
MAX_DEPTH = 32  # nested folders
CHUNK = 1 << 20

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")  # zip, empty zip, gzip, bzip2, xz
# Of compressed tars, by their first bytes.
OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}

DAMAGED = (  # NotImplementedError: a compression that zipfile does not support
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError,
    struct.error, ValueError,
)  # fmt: skip
Kind = Literal["file", "folder", "link or device"]


Member = tuple[str, Kind, Callable[[], IO[bytes]]]  # name, kind, and opener, which works until the next is requested


def is_archive(start: bytes) -> bool:
    """Whether a file that begins with these bytes, 512 or all, has the signature of a zip or tar archive."""
    return start.startswith(SIGNATURES) or start[257:262] == b"ustar"


def unpack(archive: Path, to: Path, advance: Callable[[int], None] = lambda written: None) -> int:
    """Unpack a zip or tar archive to the folder `to`, and return the number of files.

    `advance` is called with the bytes written so far. Characters that Windows forbids, and bytes that are not UTF-8,
    become "_". System files (.DS_Store and similar) are skipped. Raises `BadFile` for an archive that is damaged,
    has links, devices, paths outside its folder or conflicting names, or is too large; some files may have been
    written then. Errors of writing stay `OSError`.
    """
    limit = ALWAYS_ALLOWED + MAX_GROWTH * archive.stat().st_size
    taken: dict[tuple[str, ...], tuple[str, Kind]] = {}
    files, written = 0, 0
    with archive.open("rb") as file:
        start = file.read(2)
    members = _zip_members(archive) if start == b"PK" else _tar_members(archive, OPENERS.get(start, open))
    with _explain_damage(archive):
        for name, kind, open_member in members:
            parts = safe_parts(name)
            if not parts or parts[0] == "__MACOSX" or parts[-1].startswith("._") or parts[-1] in SYSTEM_FILES:
                continue
            if kind == "link or device":
                raise BadFile(f"contains {name!r}, a link or device")
            _require_unique(parts, kind, taken)
            path = to.joinpath(*parts)
            if kind == "folder":
                path.mkdir(parents=True, exist_ok=True)
                continue
            files += 1
            if files > MAX_FILES:
                raise BadFile(f"contains more than {MAX_FILES:,} files")
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_member() as source:
                written = _write(source, path, written, limit, advance)
    return files


def _require_unique(parts: tuple[str, ...], kind: Kind, taken: dict[tuple[str, ...], tuple[str, Kind]]) -> None:
    """Add a path and its folders to `taken`. Raises `BadFile` if it equals another path on some system.

    Paths are compared as on the least capable file systems: without case, accents composed.
    """
    keys = tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)
    for depth in range(1, len(parts) + 1):
        path, this_kind = "/".join(parts[:depth]), kind if depth == len(parts) else "folder"
        is_new = keys[:depth] not in taken
        other, other_kind = taken.setdefault(keys[:depth], (path, this_kind))
        if other != path:
            raise BadFile(f"contains both {other} and {path}, which are the same name on many systems")
        if other_kind != this_kind:
            raise BadFile(f"contains {path} as a file and as a folder")
        if this_kind == "file" and not is_new:
            raise BadFile(f"contains {path} twice")


def safe_parts(name: str) -> tuple[str, ...]:
    """The parts of a path in an archive, valid on every system. Raises `BadFile` if it leaves its folder."""
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    is_absolute = re.match(r"[/\\]|[A-Za-z]:[/\\]", name)
    if is_absolute or any(not part.rstrip(". ") for part in parts):  # "..", and what Windows treats as such
        raise BadFile(f"contains {name!r}, a path outside its folder")
    if len(parts) > MAX_DEPTH:
        raise BadFile(f"contains folders nested {len(parts)} deep")
    return tuple(re.sub(r'[<>:"|?*\x00-\x1f\ufffd]', "_", part) for part in parts)


def _write(source: IO[bytes], path: Path, written: int, limit: int, advance: Callable[[int], None]) -> int:
    """Write one file, and return the bytes written of all files. Sizes in headers are not trusted."""
    with path.open("xb") as file:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > limit:
                raise BadFile(f"unpacks to more than {decimal(limit)}, too much for an archive of images")
            file.write(chunk)
            advance(written)
    return written


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if info.flag_bits & 0x1:
                raise BadFile("is encrypted")
            mode = stat.S_IFMT(info.external_attr >> 16)
            kind: Kind = "folder" if info.is_dir() else "file"
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "link or device"
            name = info.filename
            if not info.flag_bits & 0x800:  # many programs write UTF-8 without this flag
                with suppress(UnicodeError):
                    name = name.encode("cp437").decode("utf-8")
            yield name, kind, partial(opened.open, info)


def _tar_members(archive: Path, opener: Callable[..., IO[bytes]]) -> Iterator[Member]:
    # Read as a stream, because seeking would decompress from the start each time. Decompressed here, because tarfile's
    # own streams treat truncation as the end, and verify no checksums; the last read verifies that of gzip.
    with opener(archive, "rb") as stream:
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            for info in opened:
                kind: Kind = "file" if info.isreg() else "folder" if info.isdir() else "link or device"
                name = info.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                yield name, kind, partial(cast("Callable[..., IO[bytes]]", opened.extractfile), info)
                opened.members.clear()  # type: ignore[attr-defined]  # otherwise it keeps them all in memory
        stream.read(CHUNK)


@contextmanager
def _explain_damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise BadFile(f"is damaged or truncated ({decimal(archive.stat().st_size)}; {reason})") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise BadFile(f"is damaged or truncated ({error})") from None  # bzip2 raises a plain OSError
