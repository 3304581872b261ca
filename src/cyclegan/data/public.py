"""From the name of a public data set to a folder that can be trained on."""

from dataclasses import dataclass
from pathlib import Path

from cyclegan.data import checksums, placing
from cyclegan.data.archives import START_BYTES, BadArchive, is_archive, unpack
from cyclegan.data.catalogue import Entry
from cyclegan.data.download import Patience, Watch, fetch
from cyclegan.data.folders import find_domains, find_images, find_pairs
from cyclegan.errors import CycleGANError, UsageError

PARTS = {"unpaired": "trainA and trainB", "paired": "train", "photos": "images"}


@dataclass(frozen=True)
class Obtained:
    """What is in a data set's folder, in words, and what else is to be said of it."""

    holds: str
    remarks: tuple[str, ...] = ()


def obtain(
    entry: Entry, to: Path, watch: Watch, from_file: Path | None = None, patience: Patience | None = None
) -> Obtained:
    """Make the folder `to` of a data set, from its addresses or from an archive on disk.

    A folder that holds it already is left as it is. A download whose checksum is wrong is refused; of a file of the
    user's own it is only remarked. Raises `CycleGANError`, and `UsageError` for a data set that cannot be downloaded.
    """
    if placing.is_marked(to, entry.name):
        return Obtained(f"already there, {_holds(to, entry)}")
    placing.require_free(to)
    if from_file is not None:
        return _from_file(entry, from_file, to, watch)
    if not entry.addresses:
        raise UsageError(f"{entry.ask}.")

    def use(archive: Path) -> Obtained:
        sha256 = checksums.sha256_of(archive)
        checksums.check(entry, sha256)
        holds = _place(entry, archive, sha256, to, watch)
        trusted = checksums.keep(entry, sha256)
        return Obtained(holds, (trusted,) if trusted else ())

    return fetch(entry.name, entry.addresses, unfinished(entry, to), use, watch, patience)


def unfinished(entry: Entry, to: Path) -> Path:
    """Where a download for the folder `to` grows."""
    return to.absolute().parent / f".{entry.name}.download"


def _from_file(entry: Entry, archive: Path, to: Path, watch: Watch) -> Obtained:
    if not archive.is_file():
        raise UsageError(f"{archive} is no file; --from-file takes a zip or tar archive.")
    with archive.open("rb") as file:
        if not is_archive(file.read(START_BYTES)):
            raise UsageError(f"{archive} is no zip or tar archive.")
    sha256, remarks = checksums.sha256_of(archive), []
    try:
        checksums.check(entry, sha256)
    except BadArchive as other:
        remarks.append(f"{archive} {other}; it was taken all the same, since it is your own.")
    try:
        return Obtained(_place(entry, archive, sha256, to, watch), tuple(remarks))
    except BadArchive as bad:
        raise CycleGANError(f"{archive} {bad}.") from None


def _place(entry: Entry, archive: Path, sha256: str, to: Path, watch: Watch) -> str:
    """Unpack an archive, see that it holds the data set, and put it in its place."""
    with placing.new_folder(to) as folder:
        watch.begin("Unpacking")
        unpack(archive, folder, lambda written: watch.advance(written, None))
        root = placing.unwrapped(folder)
        try:
            holds = _holds(root, entry)
        except UsageError:
            raise BadArchive(f"does not hold what {entry.name} is made of ({PARTS[entry.layout]})") from None
        placing.mark(root, entry.name, sha256)
    return holds


def _holds(root: Path, entry: Entry) -> str:
    """How many images there are, in words. Raises `UsageError` if it is not a data set of the entry's layout."""
    if entry.layout == "photos":
        images = len(find_images(root))
        if not images:
            raise UsageError(f"{root} holds no image.")
        return f"{images:,} images"
    if entry.layout == "paired":
        pairs = find_pairs(root)
        return f"{len(pairs.train.a):,} pairs, {len(pairs.test.a):,} to test"
    found = find_domains(root)
    a, b, test_a, test_b = (len(each) for each in (found.train.a, found.train.b, found.test.a, found.test.b))
    return f"{a:,} and {b:,} images, {test_a:,} and {test_b:,} to test"
