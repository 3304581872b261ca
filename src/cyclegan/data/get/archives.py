"""Unpacking zip and tar archives that strangers made: nothing leaves the folder, nothing grows without bound."""

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
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Literal

from cyclegan.data.get.catalogue import format_size
from cyclegan.errors import CycleGANError

MOST_FILES = 1_000_000
MOST_GROWTH = 20  # unpacked bytes for each byte of the archive; images hardly shrink, bombs do by a thousand and more
ALWAYS_ALLOWED = 100_000_000  # bytes that even the smallest archive may unpack to
DEEPEST = 32  # folders within folders
CHUNK = 1 << 20

STARTS = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")  # zip, empty zip, gzip, bzip2, xz
START_BYTES = 512  # a tar file says what it is in byte 257

DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression that zipfile does not know
    struct.error,
    ValueError,
)

Kind = Literal["file", "folder", "link or device"]
Key = tuple[str, ...]


class BadArchive(CycleGANError):
    """An archive that must not, or cannot, be unpacked. The message is what one says of it: "holds a link"."""


@dataclass(frozen=True)
class Member:
    """One thing in an archive, to be read before the next is asked for."""

    name: str
    kind: Kind
    open: Callable[[], IO[bytes]]


@dataclass
class Names:
    """The paths taken so far, told apart as the least of file systems does: without case, accents composed."""

    taken: dict[Key, tuple[str, Kind]] = field(default_factory=dict)

    def take(self, parts: tuple[str, ...], kind: Kind) -> None:
        """Take a path and the folders above it. Raises `BadArchive` if it is another path's on some system."""
        keys = tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)
        for depth in range(1, len(parts) + 1):
            here, wanted = "/".join(parts[:depth]), kind if depth == len(parts) else "folder"
            is_new = keys[:depth] not in self.taken
            other, other_kind = self.taken.setdefault(keys[:depth], (here, wanted))
            if other != here:
                raise BadArchive(f"holds both {other} and {here}, which are one name on many systems")
            if other_kind != wanted:
                raise BadArchive(f"holds {here} as a file and as a folder")
            if wanted == "file" and not is_new:
                raise BadArchive(f"holds {here} twice")


def is_archive(start: bytes) -> bool:
    """Whether a file that begins with these `START_BYTES` bytes is a zip or tar archive by its looks."""
    return start.startswith(STARTS) or start[257:262] == b"ustar"


def unpack(archive: Path, to: Path, advance: Callable[[int], None] = lambda written: None) -> int:
    """Write the files of a zip or tar archive below the folder `to`, and return their number.

    `advance` is told the bytes written so far. Characters that Windows forbids, and bytes that are not UTF-8, become
    "_". What systems leave behind (.DS_Store and its like) is passed over. Raises `BadArchive` for an archive that is
    damaged, that holds links, devices, paths out of its folder or names that clash, or that grows beyond all bounds;
    some files may have been written then. Errors of writing stay `OSError`.
    """
    limit = ALWAYS_ALLOWED + MOST_GROWTH * archive.stat().st_size
    names, files, written = Names(), 0, 0
    with _damage_named(archive):
        for member in _members(archive):
            parts = safe_parts(member.name)
            if not parts or _is_litter(parts):
                continue
            if member.kind == "link or device":
                raise BadArchive(f"holds {member.name!r}, a link or device")
            names.take(parts, member.kind)
            path = to.joinpath(*parts)
            if member.kind == "folder":
                path.mkdir(parents=True, exist_ok=True)
                continue
            files += 1
            if files > MOST_FILES:
                raise BadArchive(f"holds more than {MOST_FILES:,} files")
            path.parent.mkdir(parents=True, exist_ok=True)
            written = _write(member, path, written, limit, advance)
    return files


def safe_parts(name: str) -> tuple[str, ...]:
    """The folders and the name of a path in an archive, fit for every system. Raises `BadArchive` if it leads out."""
    if re.match(r"[/\\]|[A-Za-z]:[/\\]", name):
        raise BadArchive(f"holds {name!r}, a path out of its folder")
    parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".")]
    for part in parts:
        if not part.rstrip(". "):  # "..", and what Windows takes for it
            raise BadArchive(f"holds {name!r}, a path out of its folder")
    if len(parts) > DEEPEST:
        raise BadArchive(f"holds folders within folders, {len(parts)} deep")
    return tuple(re.sub(r'[<>:"|?*\x00-\x1f\ufffd]', "_", part) for part in parts)


def _is_litter(parts: tuple[str, ...]) -> bool:
    return parts[0] == "__MACOSX" or parts[-1].startswith("._") or parts[-1] in (".DS_Store", "Thumbs.db")


def _write(member: Member, path: Path, written: int, limit: int, advance: Callable[[int], None]) -> int:
    """Write one file, and return the bytes written of all files. What the headers say of sizes is not believed."""
    with member.open() as source, path.open("xb") as file:
        while chunk := source.read(CHUNK):
            written += len(chunk)
            if written > limit:
                raise BadArchive(f"unpacks to more than {format_size(limit)}, as no archive of images of its size does")
            file.write(chunk)
            advance(written)
    return written


def _members(archive: Path) -> Iterator[Member]:
    with archive.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    return _zip_members(archive) if is_zip else _tar_members(archive)


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if info.flag_bits & 0x1:
                raise BadArchive("needs a password")
            mode = stat.S_IFMT(info.external_attr >> 16)
            kind: Kind = "folder" if info.is_dir() else "file"
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "link or device"
            yield Member(_zip_name(info), kind, partial(opened.open, info))


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name in a zip file. Many programs write UTF-8 without saying so; zipfile then takes it for code page 437."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        return info.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return info.filename


def _tar_members(archive: Path) -> Iterator[Member]:
    # As a stream: with seeks, the compressed beginning is unpacked again and again. Decompressed here, since tarfile's
    # own streams take a cut for the end, and check no checksum; the last read is for that of gzip.
    with _decompressed(archive) as stream:
        with tarfile.open(fileobj=stream, mode="r|") as opened:
            for info in opened:
                kind: Kind = "file" if info.isreg() else "folder" if info.isdir() else "link or device"
                name = info.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                yield Member(name, kind, partial(_tar_file, opened, info))
                opened.members.clear()  # type: ignore[attr-defined]  # else it keeps them all in memory
        stream.read(CHUNK)


def _decompressed(archive: Path) -> IO[bytes]:
    with archive.open("rb") as file:
        start = file.read(2)
    opener = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}.get(start, open)
    return opener(archive, "rb")  # type: ignore[operator]


def _tar_file(opened: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = opened.extractfile(info)
    assert file is not None  # only links and folders have none
    return file


@contextmanager
def _damage_named(archive: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise BadArchive(f"is damaged or cut short ({format_size(archive.stat().st_size)}; {reason})") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise BadArchive(f"is damaged or cut short ({error})") from None  # bzip2's way to say so
