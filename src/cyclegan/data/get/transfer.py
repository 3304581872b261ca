"""Downloading one large file from unreliable servers: resumed after interruptions, retried, with mirrors."""

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
from rich.filesize import decimal

from cyclegan.data.get.checksums import BadFile
from cyclegan.data.get.staging import DISK_FULL
from cyclegan.errors import CycleGANError

Result = TypeVar("Result")

CHUNK = 1 << 18
START_BYTES = 512  # by which files are recognized: the signature of a tar file is at byte 257
USER_AGENT = "cyclegan (image translation; urllib)"
TRANSIENT_STATUS = (408, 425, 429, 500, 502, 503, 504)
MAX_REDIRECTS = 5


class ProgressListener(Protocol):
    """Receives the progress of a download."""

    def begin(self, task: str) -> None:
        """A new task starts, such as "Unpacking"."""

    def advance(self, done: int, total: int | None) -> None:
        """Number of bytes done, and in total if known."""

    def message(self, text: str) -> None:
        """A message for the user."""


@dataclass(frozen=True)
class FileKind:
    """What a download should be."""

    noun: str  # such as "an archive"
    matches: Callable[[bytes], bool]  # whether a file that begins with these `START_BYTES` bytes is one
    advice: str  # a sentence for those who have the file from elsewhere


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait for a server, in seconds: exponential back-off with jitter."""

    timeout: float = 30.0  # without receiving a byte
    max_attempts: int = 6  # per URL, without progress between them
    initial_delay: float = 1.0
    max_delay: float = 60.0

    def delay(self, failures: int, retry_after: float) -> float:
        """The delay before the next attempt, at least the server's `retry_after` up to `max_delay`."""
        full = min(self.max_delay, self.initial_delay * 2 ** (failures - 1))
        return max(random.uniform(full / 2, full), min(retry_after, self.max_delay))


class TransientError(Exception):
    """A failure that may pass; the server may ask to wait for `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: float = 0.0):
        super().__init__(reason)
        self.retry_after = retry_after


class PermanentError(Exception):
    """A failure that will not pass at this URL."""


class PartialFile:
    """An unfinished download, and a JSON file next to it with its URL and the server's version of the file."""

    def __init__(self, path: Path):
        self.path, self.metadata = path, path.with_name(path.name + ".json")

    def size(self) -> int:
        """Number of bytes downloaded."""
        return self.path.stat().st_size if self.path.exists() else 0

    def resumable(self, url: str) -> tuple[int, str | None]:
        """Bytes that can be kept when downloading from this URL, and the version of the file they belong to."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            saved = json.loads(self.metadata.read_text(encoding="utf-8"))
            if saved["url"] == url and saved["version"] and (size := self.size()):
                return size, saved["version"]
        return 0, None

    def begin(self, url: str, headers: Message) -> IO[bytes]:
        """Start over with the version described by the response headers."""
        self.discard()
        etag = headers.get("ETag", "")
        # A weak ETag (W/...) does not guarantee equal bytes, so it cannot be resumed (RFC 9110, 13.1.5).
        version = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")
        self.metadata.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")
        return self.path.open("wb")

    def discard(self) -> None:
        """Delete both files."""
        self.path.unlink(missing_ok=True)
        self.metadata.unlink(missing_ok=True)

    def describe(self) -> str:
        """A message about the unfinished download."""
        return f"{decimal(self.size())} are kept in {self.path}; the same command resumes the download."


def fetch(
    name: str,
    urls: Sequence[str],
    to: Path,
    kind: FileKind,
    use: Callable[[Path], Result],
    listener: ProgressListener,
    policy: RetryPolicy | None = None,
) -> Result:
    """Download a file to `to` from the first URL that works, and return the result of `use(to)`.

    The file is deleted after use. If the download does not finish, it is kept, and the next call resumes it if the
    server still has the same version (`If-Range`). If `use` raises `BadFile`, the file is deleted, and the next URL is
    tried. Raises `CycleGANError` with the failure at each URL, or for a full disk.
    """
    partial, reasons = PartialFile(to), []
    to.parent.mkdir(parents=True, exist_ok=True)
    with _lock(to, name):
        for url in urls:
            host = urlsplit(url).netloc
            listener.begin("Downloading")
            try:
                _download_with_retries(url, partial, kind, listener, policy or RetryPolicy())
                result = use(to)
            except PermanentError as error:
                reasons.append(f"{host} {error}")
            except BadFile as error:
                partial.discard()
                reasons.append(f"the file from {host} {error}")
            else:
                partial.discard()
                return result
        kept = f" {partial.describe()}" if partial.size() else ""
    raise CycleGANError(f"{name} could not be downloaded: {'; '.join(reasons)}.{kept} {kind.advice}")


@contextmanager
def _lock(to: Path, name: str) -> Iterator[None]:
    lock = FileLock(to.with_name(to.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise CycleGANError(f"Another process is downloading {name} to {to}; wait until it has finished.") from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows deletes it itself
            Path(lock.lock_file).unlink()
        lock.release()


def _download_with_retries(
    url: str, partial: PartialFile, kind: FileKind, listener: ProgressListener, policy: RetryPolicy
) -> None:
    """Download from one URL until the file is complete. Raises `PermanentError`."""
    failures, best = 0, partial.resumable(url)[0]
    while True:
        try:
            return _download(url, partial, kind, listener, policy.timeout)
        except TransientError as error:
            size = partial.resumable(url)[0]
            failures, best = (1, size) if size > best else (failures + 1, best)
            if failures >= policy.max_attempts:
                raise PermanentError(f"{error} ({failures} times in a row)") from None
            delay = policy.delay(failures, error.retry_after)
            listener.message(f"{urlsplit(url).netloc} {error}; retrying in {delay:.0f} s.")
            time.sleep(delay)


def _download(url: str, partial: PartialFile, kind: FileKind, listener: ProgressListener, timeout: float) -> None:
    """One request for the rest of the file; returns if the file is complete then."""
    downloaded, version = partial.resumable(url)
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    if version:
        headers |= {"Range": f"bytes={downloaded}-", "If-Range": version}
    try:
        with classify_errors():
            response: HTTPResponse = build_opener(Redirects).open(Request(url, headers=headers), timeout=timeout)
    except HTTPError as error:
        if error.code == 416 and downloaded and error.headers.get("Content-Range") == f"bytes */{downloaded}":
            return  # already complete
        if error.code == 416:
            partial.discard()
            raise TransientError("has another file than before") from None
        if 300 <= error.code < 400:
            raise PermanentError(f"redirects in a loop, or more than {MAX_REDIRECTS} times") from None
        reason = f"returned {error.code} {error.reason}".splitlines()[0]
        if error.code not in TRANSIENT_STATUS:
            raise PermanentError(reason) from None
        retry_after = error.headers.get("Retry-After", "")
        raise TransientError(reason, float(retry_after) if retry_after.isdigit() else 0.0) from None
    with response:
        _save(response, url, partial, kind, listener, downloaded)


def _save(
    response: HTTPResponse, url: str, partial: PartialFile, kind: FileKind, listener: ProgressListener, downloaded: int
) -> None:
    """Write a response to the partial file, after the bytes already downloaded if it continues them."""
    start, total = _content_range(response, downloaded)
    with classify_errors():
        chunk = response.read(START_BYTES)
    if start == 0 and not kind.matches(chunk):  # often an error page with status 200
        content_type = response.headers.get_content_type()
        is_page = "html" in content_type or chunk.lstrip().startswith(b"<")
        raise PermanentError(f"returned {'a web page' if is_page else content_type} instead of {kind.noun}")
    needed = 2 * total - start if total is not None else 0  # what is made of it takes about the same again
    if (free := shutil.disk_usage(partial.path.parent).free) < needed:
        raise CycleGANError(
            f"The download needs {decimal(needed)} in {partial.path.parent}, but only {decimal(free)} are free; "
            "make room, or choose another disk with -o."
        )
    try:
        with partial.path.open("ab") if start else partial.begin(url, response.headers) as file:
            done = start
            while chunk:
                done += file.write(chunk)
                listener.advance(done, total)
                with classify_errors():
                    chunk = response.read1(CHUNK)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise CycleGANError(f"The disk of {partial.path} is full. {partial.describe()}") from None
    if total is not None and done < total:
        raise TransientError(f"closed the connection after {decimal(done)} of {decimal(total)}")


def _content_range(response: HTTPResponse, downloaded: int) -> tuple[int, int | None]:
    """Where in the file the response starts, and the file's size, None if unknown."""
    length = response.headers.get("Content-Length", "")
    if response.status != 206:  # the whole file: first request, or no support for ranges, or a new version
        return 0, int(length) if length.isdigit() else None
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not found or int(found[1]) != downloaded:
        raise PermanentError(f"returned another range than requested ({response.headers.get('Content-Range')})")
    return downloaded, int(found[2]) if found[2] != "*" else None


@contextmanager
def classify_errors() -> Iterator[None]:
    """Convert network errors to `TransientError` or `PermanentError`; `HTTPError` passes through."""
    try:
        yield
    except HTTPError:
        raise
    except (OSError, HTTPException) as raised:
        error = raised.reason if isinstance(raised, URLError) else raised
        if isinstance(error, ssl.SSLCertVerificationError):
            raise PermanentError("has no trusted certificate") from None
        if isinstance(error, TimeoutError):
            raise TransientError("did not respond in time") from None
        if isinstance(error, HTTPException) or not isinstance(error, OSError):
            raise TransientError(f"closed the connection ({type(error).__name__})") from None
        raise TransientError(f"cannot be reached ({error.strerror or error})") from None


class Redirects(HTTPRedirectHandler):
    """Follows a few redirects, but never from HTTPS to HTTP."""

    max_redirections = MAX_REDIRECTS

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        """The redirected request. Raises `PermanentError`."""
        scheme = urlsplit(newurl).scheme
        if scheme not in ("http", "https") or (req.type == "https" and scheme == "http"):
            raise PermanentError(f"redirects to {newurl}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]
