"""Downloading one image or video from a web address."""

import re
import time
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, build_opener

from rich.filesize import decimal

from cyclegan.data.get.transfer import CHUNK, USER_AGENT, PermanentError, Redirects, TransientError, classify_errors
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.decode import read_header
from cyclegan.imaging.encode import IMAGE_SUFFIXES
from cyclegan.imaging.source import UnreadableImage
from cyclegan.imaging.video import VIDEO_SUFFIXES

MAX_BYTES = 256_000_000
TIMEOUT, MAX_SECONDS = 30.0, 600.0  # without receiving a byte, and for all
SUFFIXES = {"JPEG": ".jpg", "TIFF": ".tif", "HEIF": ".heic"}  # of formats that are not called after theirs


def download(url: str, folder: Path, *, max_bytes: int = MAX_BYTES, timeout: float = TIMEOUT) -> Path:
    """Download the image or video at an http or https address into `folder`, and return the file.

    It is called as in the address, with the suffix of its format. Raises `UsageError` for other addresses, and
    `CycleGANError` when it is not available, larger than `max_bytes`, or not an image.
    """
    if urlsplit(url).scheme.lower() not in ("http", "https") or not urlsplit(url).hostname:
        raise UsageError(f"{url} cannot be read; only addresses such as https://example.org/photo.jpg can.")
    name = re.sub(r"[^\w.-]", "_", PurePosixPath(unquote(urlsplit(url).path)).name).strip(".") or "image"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    try:
        _save(url, file, max_bytes, timeout)
    except HTTPError as error:
        raise CycleGANError(f"{url} returned {error.code} {error.reason}".splitlines()[0].rstrip(".") + ".") from None
    except (PermanentError, TransientError) as error:
        raise CycleGANError(f"{url} could not be downloaded: the server {error}.") from None
    except ValueError as error:
        raise UsageError(f"{url} is not a valid address: {error}.") from None
    if file.suffix.lower() in VIDEO_SUFFIXES:
        return file
    try:
        kind = read_header(file).kind
    except UnreadableImage as error:
        reason = str(error).removeprefix(str(file)).strip()
        raise CycleGANError(f"{url} {reason}") from None
    if file.suffix.lower() in IMAGE_SUFFIXES:
        return file
    return file.replace(folder / f"{name}{SUFFIXES.get(kind, f'.{kind.lower()}')}")


def _save(url: str, file: Path, max_bytes: int, timeout: float) -> None:
    """Write the response to the file. Raises `PermanentError`, also for too many bytes, and `TransientError`."""
    done, end = 0, time.monotonic() + MAX_SECONDS
    request = Request(url, headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
    with classify_errors():
        response = build_opener(Redirects).open(request, timeout=timeout)
    with response, file.open("wb") as to:
        while True:
            with classify_errors():
                chunk = response.read1(CHUNK)
            if not chunk:
                break
            done += to.write(chunk)
            if done > max_bytes:
                raise PermanentError(f"sent more than {decimal(max_bytes)}, the limit")
            if time.monotonic() > end:
                raise TransientError(f"took more than {MAX_SECONDS / 60:.0f} minutes")
    length = response.headers.get("Content-Length", "")
    if length.isdigit() and done < int(length):
        raise TransientError(f"closed the connection after {decimal(done)} of {decimal(int(length))}")
