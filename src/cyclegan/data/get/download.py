"""Fetching one big file from servers that fail: resumed after a cut, tried again, at one address after the other."""

import hashlib
import json
import random
import re
import shutil
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Protocol, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from filelock import FileLock, Timeout

from cyclegan.data.get import staging as placing
from cyclegan.data.get.archives import START_BYTES, BadArchive, is_archive, unpack
from cyclegan.data.get.catalogue import Entry, format_size
from cyclegan.data.get.staging import FULL
from cyclegan.data.layouts import find_domains, find_images, find_pairs
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.system.atomic import write_text
from cyclegan.system.machine import user_cache_dir

Result = TypeVar("Result")

CHUNK = 1 << 18
AGENT = "cyclegan (image translation; urllib)"
PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that may be others a little later
MOST_REDIRECTS = 5


class ProgressListener(Protocol):
    """Who is told how it goes."""

    def begin(self, what: str) -> None:
        """What is done from now on, such as "Unpacking"."""

    def advance(self, done: int, total: int | None) -> None:
        """So many bytes are there, of so many if that is known."""

    def say(self, text: str) -> None:
        """Something a person should know."""


@dataclass(frozen=True)
class RetryPolicy:
    """How long a server is waited for, seconds. The wait doubles with each failure, and varies by chance."""

    timeout: float = 30.0  # without a byte
    tries: int = 6  # at one address, without a new byte between them
    first_wait: float = 1.0
    longest_wait: float = 60.0

    def wait(self, failures: int, asked: float) -> float:
        """The time before the next try, at least what the server `asked` for if that is not too long."""
        full = min(self.longest_wait, self.first_wait * 2 ** (failures - 1))
        return max(random.uniform(full / 2, full), min(asked, self.longest_wait))


class TransientError(Exception):
    """A failure that may pass. `asked` is how many seconds the server wants us to wait."""

    def __init__(self, reason: str, asked: float = 0.0):
        super().__init__(reason)
        self.asked = asked


class PermanentError(Exception):
    """A failure that will not pass at this address."""


@dataclass(frozen=True)
class Partial:
    """A file under way, and beside it a note of where it came from and of the server's mark for its version."""

    path: Path

    @property
    def note(self) -> Path:
        """Where the address and the version's mark are kept."""
        return self.path.with_name(self.path.name + ".json")

    def size(self) -> int:
        """How many bytes are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    def size_from(self, address: str) -> int:
        """How many bytes are there that can be gone on with from this address."""
        return self.size() if self.version(address) else 0

    def version(self, address: str) -> str | None:
        """The mark of the version that the bytes are of, if they can be gone on with from this address."""
        try:
            kept = json.loads(self.note.read_text(encoding="utf-8"))
            return kept["version"] if kept["address"] == address and self.size() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, address: str, headers: Message) -> IO[bytes]:
        """Begin anew with the version that the server tells of."""
        self.discard()
        etag = headers.get("ETag", "")
        # A weak ETag (W/…) does not promise equal bytes, so it cannot be gone on from (RFC 9110, 13.1.5).
        version = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
        self.note.write_text(json.dumps({"address": address, "version": version}), encoding="utf-8")
        return self.path.open("wb")

    def discard(self) -> None:
        """Remove the bytes and the note."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


def fetch(
    name: str,
    addresses: Sequence[str],
    to: Path,
    use: Callable[[Path], Result],
    watch: ProgressListener,
    patience: RetryPolicy | None = None,
) -> Result:
    """Download a file from the first of the addresses that gives it, hand it to `use`, and return what that returns.

    It grows in `to` and is removed when it has been used. If it cannot be had whole now, what there is stays, and the
    next call goes on from there if the server still has the same version (`If-Range`). A file that `use` rejects with
    `BadArchive` is removed, and the next address is tried. Raises `CycleGANError` with what each address answered, and
    for a full disk.
    """
    partial, reasons = Partial(to), []
    to.parent.mkdir(parents=True, exist_ok=True)
    with _alone(to, name):
        for address in addresses:
            watch.begin("Downloading")
            try:
                _persist(address, partial, watch, patience or RetryPolicy())
                used = use(to)
            except PermanentError as refusal:
                reasons.append(f"{_host(address)} {refusal}")
            except BadArchive as bad:
                partial.discard()
                reasons.append(f"the file of {_host(address)} {bad}")
            else:
                partial.discard()
                return used
        kept = f" {kept_words(to)}" if partial.size() else ""
    raise CycleGANError(
        f"{name} could not be downloaded: {'; '.join(reasons)}.{kept} "
        "An archive that you have from elsewhere can be given with --from-file."
    )


def kept_words(to: Path) -> str:
    """The sentence on what there is of an unfinished download."""
    return f"{format_size(Partial(to).size())} are kept in {to}; the same command goes on from there."


@contextmanager
def _alone(to: Path, name: str) -> Iterator[None]:
    """Keep other processes from writing the same file."""
    lock = FileLock(to.with_name(to.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CycleGANError(f"{name} is being downloaded to {to} by another process; wait for it.") from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes it itself
            Path(lock.lock_file).unlink()
        lock.release()


def _persist(address: str, partial: Partial, watch: ProgressListener, patience: RetryPolicy) -> None:
    """Try one address until the file is whole. Raises `PermanentError` when it will not be."""
    failures, best = 0, partial.size_from(address)
    while True:
        try:
            return _try(address, partial, watch, patience.timeout)
        except TransientError as fault:
            if partial.size_from(address) > best:
                failures, best = 0, partial.size_from(address)
            failures += 1
            if failures >= patience.tries:
                raise PermanentError(f"{fault} ({failures} times in a row)") from None
            wait = patience.wait(failures, fault.asked)
            watch.say(f"{_host(address)} {fault}; trying again in {wait:.0f} s.")
            time.sleep(wait)


def _try(address: str, partial: Partial, watch: ProgressListener, timeout: float) -> None:
    """Take what the server gives in one answer; return if the file is whole then."""
    have, version = partial.size_from(address), partial.version(address)
    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    if version:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    try:
        with _faults_named():
            response = _open(Request(address, headers=headers), timeout)
    except HTTPError as error:
        if error.code == 416 and have and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # all of it is there already
        raise _judged(error, partial) from None
    with response:
        start, total = _extent(response, have)
        with _faults_named():
            head = response.read(START_BYTES)
        if start == 0:
            _require_archive(response, head)
        if total is not None:
            _require_room(partial.path.parent, total - start, total)
        with (
            _room_kept(partial.path),
            partial.path.open("ab") if start else partial.begin(address, response.headers) as file,
        ):
            done = start
            while head:
                done += file.write(head)
                watch.advance(done, total)
                with _faults_named():
                    head = response.read1(CHUNK)
    if total is not None and done < total:
        raise TransientError(f"cut the connection after {format_size(done)} of {format_size(total)}")


def _extent(response: HTTPResponse, have: int) -> tuple[int, int | None]:
    """Where in the file the answer starts, and how many bytes the whole file has, None if the server does not say."""
    length = response.headers.get("Content-Length", "")
    if response.status != 206:  # the whole file: the first try, or a server that ignores ranges or has a new version
        return 0, int(length) if length.isdigit() else None
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not found or int(found[1]) != have:
        raise PermanentError(f"answers with another part than asked for ({response.headers.get('Content-Range')})")
    return have, int(found[2]) if found[2] != "*" else None


def _judged(error: HTTPError, partial: Partial) -> TransientError | PermanentError:
    """What an answer of 300 and more means for us."""
    if error.code == 416:
        partial.discard()
        return TransientError("has another file than before")
    if 300 <= error.code < 400:
        return PermanentError(f"redirects in a circle, or more than {MOST_REDIRECTS} times")
    words = f"answers {error.code} {error.reason}".splitlines()[0]
    if error.code in PASSING:
        asked = error.headers.get("Retry-After", "")
        return TransientError(words, float(asked) if asked.isdigit() else 0.0)
    return PermanentError(words)


def _require_archive(response: HTTPResponse, start: bytes) -> None:
    """Raise `PermanentError` for what is no archive: often a web page that says so nicely."""
    if is_archive(start):
        return
    kind = response.headers.get_content_type()
    page = "html" in kind or start.lstrip()[:1] == b"<"
    raise PermanentError(
        "answers with a web page instead of an archive" if page else f"answers with no archive ({kind})"
    )


def _require_room(folder: Path, left: int, total: int) -> None:
    """Raise `CycleGANError` if the disk cannot take the rest and the images, which are about as big as the archive."""
    free = shutil.disk_usage(folder).free
    if free < left + total:
        raise CycleGANError(
            f"{format_size(left + total)} of {folder} are needed, {format_size(free)} are free; "
            "make room, or choose another disk with -o."
        )


@contextmanager
def _room_kept(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise CycleGANError(f"The disk of {file} is full. {kept_words(file)}") from None


@contextmanager
def _faults_named() -> Iterator[None]:
    """Convert network errors to `TransientError` or `PermanentError`; `HTTPError` passes through."""
    try:
        yield
    except HTTPError:
        raise
    except URLError as error:
        raise _network(error.reason) from None
    except (OSError, HTTPException) as error:
        raise _network(error) from None


def _network(error: object) -> TransientError | PermanentError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return PermanentError("has no certificate that can be trusted")
    if isinstance(error, TimeoutError):
        return TransientError("does not answer in time")
    if isinstance(error, HTTPException) or not isinstance(error, OSError):
        return TransientError(f"cut the connection ({type(error).__name__})")
    return TransientError(f"is out of reach ({error.strerror or error})")


class _Redirects(HTTPRedirectHandler):
    """Follow redirects a few times, and never from an encrypted connection to an open one."""

    max_redirections = MOST_REDIRECTS

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        """The request to go on with. Raises `PermanentError`."""
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise PermanentError(f"redirects to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _open(request: Request, timeout: float) -> HTTPResponse:
    return build_opener(_Redirects).open(request, timeout=timeout)


def _host(address: str) -> str:
    return urlsplit(address).netloc


def checksum_file() -> Path:
    """The file of the checksums that were kept, in the user's folder for caches."""
    return user_cache_dir() / "checksums.json"


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def check(entry: Entry, sha256: str) -> None:
    """Raise `BadArchive` if an archive of this SHA-256 is not the one published, or not the one downloaded before."""
    if entry.sha256 is not None:
        if sha256 != entry.sha256:
            raise BadArchive(f"has the SHA-256 {sha256[:12]}…, not {entry.sha256[:12]}… as published")
        return
    kept = _kept().get(entry.name)
    if kept is not None and sha256 != kept:
        raise BadArchive(
            f"has the SHA-256 {sha256[:12]}…, not {kept[:12]}… as at the first download "
            f"(if it has changed for a good reason, remove its line from {checksum_file()})"
        )


def keep(entry: Entry, sha256: str) -> str | None:
    """Keep the checksum of a first download that none is published for. Returns the sentence that says so."""
    kept = _kept()
    if entry.sha256 is not None or entry.name in kept:
        return None
    file = checksum_file()
    trusted = f"No checksum of {entry.name} is published, so this first download was trusted;"
    try:
        write_text(file, json.dumps(kept | {entry.name: sha256}, indent=1, sort_keys=True) + "\n")
    except CycleGANError as error:
        return f"{trusted} but its SHA-256 could not be saved: {error}"
    return f"{trusted} later ones must have the same SHA-256, kept in {file}."


def _kept() -> dict[str, str]:
    file = checksum_file()
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        kept = None
    if not isinstance(kept, dict) or not all(isinstance(each, str) for each in kept.values()):
        raise CycleGANError(f"{file} is damaged; remove it, and the next downloads will be trusted anew.")
    return kept


PARTS = {"unpaired": "trainA and trainB", "paired": "train", "photos": "images"}


@dataclass(frozen=True)
class Obtained:
    """What is in a data set's folder, in words, and what else is to be said of it."""

    holds: str
    remarks: tuple[str, ...] = ()


def obtain(
    entry: Entry, to: Path, watch: ProgressListener, from_file: Path | None = None, patience: RetryPolicy | None = None
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
        sha256 = sha256_of(archive)
        check(entry, sha256)
        holds = _place(entry, archive, sha256, to, watch)
        trusted = keep(entry, sha256)
        return Obtained(holds, (trusted,) if trusted else ())

    return fetch(entry.name, entry.addresses, unfinished(entry, to), use, watch, patience)


def unfinished(entry: Entry, to: Path) -> Path:
    """Where a download for the folder `to` grows."""
    return to.absolute().parent / f".{entry.name}.download"


def _from_file(entry: Entry, archive: Path, to: Path, watch: ProgressListener) -> Obtained:
    if not archive.is_file():
        raise UsageError(f"{archive} is no file; --from-file takes a zip or tar archive.")
    with archive.open("rb") as file:
        if not is_archive(file.read(START_BYTES)):
            raise UsageError(f"{archive} is no zip or tar archive.")
    sha256, remarks = sha256_of(archive), []
    try:
        check(entry, sha256)
    except BadArchive as other:
        remarks.append(f"{archive} {other}; it was taken all the same, since it is your own.")
    try:
        return Obtained(_place(entry, archive, sha256, to, watch), tuple(remarks))
    except BadArchive as bad:
        raise CycleGANError(f"{archive} {bad}.") from None


def _place(entry: Entry, archive: Path, sha256: str, to: Path, watch: ProgressListener) -> str:
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
