"""Getting a data set of the catalog: download or archive on disk, checksum, unpacking."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cyclegan.data.get.archives import is_archive, unpack
from cyclegan.data.get.catalog import Entry
from cyclegan.data.get.checksums import BadFile, compute_checksum, remember_checksum, verify_checksum
from cyclegan.data.get.staging import is_marked, mark, new_folder, require_free, unwrap
from cyclegan.data.get.transfer import START_BYTES, FileKind, PartialFile, ProgressListener, RetryPolicy, fetch
from cyclegan.data.layouts import find_domains, find_images, find_pairs
from cyclegan.errors import CycleGANError, UsageError

ARCHIVE = FileKind("an archive", is_archive, "If you have the archive from elsewhere, use --from-file.")
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
        return fetch(entry.name, entry.urls, partial_file(entry, to).path, ARCHIVE, use, listener, policy)
    if not from_file.is_file():
        raise UsageError(f"{from_file} is not a file; --from-file takes a zip or tar archive.")
    with from_file.open("rb") as file:
        if not is_archive(file.read(START_BYTES)):
            raise UsageError(f"{from_file} is not a zip or tar archive.")
    try:
        return _use_archive(entry, to, listener, from_file, is_local=True)
    except BadFile as error:
        raise CycleGANError(f"{from_file} {error}.") from None


def partial_file(entry: Entry, to: Path) -> PartialFile:
    """The unfinished download for the folder `to`."""
    return PartialFile(to.absolute().parent / f".{entry.name}.download")


def _use_archive(
    entry: Entry, to: Path, listener: ProgressListener, archive: Path, is_local: bool = False
) -> DownloadResult:
    """Verify an archive and unpack it to `to`. Raises `BadFile`, for local files not because of their checksum."""
    sha256, notes = compute_checksum(archive), []
    try:
        verify_checksum(entry.name, sha256, entry.sha256)
    except BadFile as difference:
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
            raise BadFile(f"does not contain {EXPECTED[entry.layout]}, as {entry.name} should") from None
        mark(root, entry.name, sha256)
    if not is_local:
        notes += remember_checksum(entry.name, sha256, entry.sha256)
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
