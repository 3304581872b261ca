"""Getting a data set of the catalog: download or archive on disk, checksum, unpacking."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cyclegan.data.get.archives import START_BYTES, BadArchive, is_archive, unpack
from cyclegan.data.get.catalog import Entry
from cyclegan.data.get.staging import is_marked, mark, new_folder, require_free, unwrap
from cyclegan.data.get.transfer import PartialFile, ProgressListener, RetryPolicy, fetch
from cyclegan.data.layouts import find_domains, find_images, find_pairs
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.system.atomic import write_text
from cyclegan.system.machine import user_cache_dir

EXPECTED = {"unpaired": "trainA and trainB", "paired": "train", "photos": "images"}


@dataclass(frozen=True)
class DownloadResult:
    """What a data set's folder contains, and further messages for the user."""

    contents: str
    notes: tuple[str, ...] = ()


def get_dataset(
    entry: Entry, to: Path, listener: ProgressListener, from_file: Path | None = None, policy: RetryPolicy | None = None
) -> DownloadResult:
    """Create the folder `to` of a data set, from its URLs or from an archive on disk.

    A folder that already contains it is left unchanged. A download with a wrong checksum is rejected; for the user's
    own file it is only noted. Raises `CycleGANError`, and `UsageError` for a data set that cannot be downloaded.
    """
    if is_marked(to, entry.name):
        return DownloadResult(f"already there, {_count_images(to, entry)}")
    require_free(to)
    if from_file is None:
        if not entry.urls:
            raise UsageError(f"{entry.instructions}.")
        use = partial(_use_archive, entry, to, listener)
        return fetch(entry.name, entry.urls, partial_file(entry, to).path, use, listener, policy)
    if not from_file.is_file():
        raise UsageError(f"{from_file} is not a file; --from-file takes a zip or tar archive.")
    with from_file.open("rb") as file:
        if not is_archive(file.read(START_BYTES)):
            raise UsageError(f"{from_file} is not a zip or tar archive.")
    try:
        return _use_archive(entry, to, listener, from_file, is_local=True)
    except BadArchive as error:
        raise CycleGANError(f"{from_file} {error}.") from None


def partial_file(entry: Entry, to: Path) -> PartialFile:
    """The unfinished download for the folder `to`."""
    return PartialFile(to.absolute().parent / f".{entry.name}.download")


def _use_archive(
    entry: Entry, to: Path, listener: ProgressListener, archive: Path, is_local: bool = False
) -> DownloadResult:
    """Verify an archive and unpack it to `to`. Raises `BadArchive`, for local files not because of their checksum."""
    with archive.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    notes = []
    try:
        verify_checksum(entry, sha256)
    except BadArchive as difference:
        if not is_local:
            raise
        notes.append(f"{archive} {difference}; it was used anyway, because it is your own file.")
    with new_folder(to) as folder:
        listener.begin("Unpacking")
        unpack(archive, folder, lambda written: listener.advance(written, None))
        root = unwrap(folder)
        try:
            contents = _count_images(root, entry)
        except UsageError:
            raise BadArchive(f"does not contain {EXPECTED[entry.layout]}, as {entry.name} should") from None
        mark(root, entry.name, sha256)
    if not is_local and (note := remember_checksum(entry, sha256)):
        notes.append(note)
    return DownloadResult(contents, tuple(notes))


def _count_images(root: Path, entry: Entry) -> str:
    """The numbers of images, as text. Raises `UsageError` if the folder does not have the entry's layout."""
    if entry.layout == "photos":
        images = len(find_images(root))
        if not images:
            raise UsageError(f"{root} contains no images.")
        return f"{images:,} images"
    if entry.layout == "paired":
        pairs = find_pairs(root)
        return f"{len(pairs.train.a):,} training pairs, {len(pairs.test.a):,} test pairs"
    found = find_domains(root)
    a, b, test_a, test_b = (len(each) for each in (found.train.a, found.train.b, found.test.a, found.test.b))
    return f"{a:,} and {b:,} training images, {test_a:,} and {test_b:,} test images"


def checksum_file() -> Path:
    """The file of checksums of first downloads, in the user's cache folder."""
    return user_cache_dir() / "checksums.json"


def verify_checksum(entry: Entry, sha256: str) -> None:
    """Raise `BadArchive` if the SHA-256 differs from the published one, or from that of the first download."""
    expected = entry.sha256 or _remembered_checksums().get(entry.name)
    if expected and sha256 != expected:
        advice = f"if the file was updated on purpose, remove its line from {checksum_file()}"
        first = f"the first download had {expected[:12]}… ({advice})"
        known = f"{expected[:12]}… is published" if entry.sha256 else first
        raise BadArchive(f"has SHA-256 {sha256[:12]}…, but {known}")


def remember_checksum(entry: Entry, sha256: str) -> str | None:
    """Save the checksum of a first download without a published one. Returns a message about it."""
    known = _remembered_checksums()
    if entry.sha256 is not None or entry.name in known:
        return None
    trusted = f"No checksum of {entry.name} is published, so this first download was trusted;"
    try:
        write_text(checksum_file(), json.dumps(known | {entry.name: sha256}, indent=1, sort_keys=True) + "\n")
    except CycleGANError as error:
        return f"{trusted} but its SHA-256 could not be saved: {error}"
    return f"{trusted} later ones must have the same SHA-256, saved in {checksum_file()}."


def _remembered_checksums() -> dict[str, str]:
    file = checksum_file()
    try:
        checksums = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        checksums = None
    if not isinstance(checksums, dict) or not all(isinstance(each, str) for each in checksums.values()):
        raise CycleGANError(f"{file} is damaged; remove it, and the next downloads will be trusted again.")
    return checksums
