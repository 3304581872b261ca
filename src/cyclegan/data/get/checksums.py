"""Checksums of downloads: the published one, else that of the first download, which is trusted and remembered."""

import hashlib
import json
from pathlib import Path

from cyclegan.errors import CycleGANError
from cyclegan.system.atomic import write_text
from cyclegan.system.machine import user_cache_dir


class BadFile(CycleGANError):
    """A downloaded file that cannot be used. The message continues a sentence about it, such as "contains a link"."""


def checksum_file() -> Path:
    """The file of checksums of first downloads, in the user's cache folder."""
    return user_cache_dir() / "checksums.json"


def compute_checksum(file: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def verify_checksum(name: str, sha256: str, published: str | None = None) -> None:
    """Raise `BadFile` if the SHA-256 differs from the published one, or from that of the first download of `name`."""
    expected = published or _remembered_checksums().get(name)
    if expected and sha256 != expected:
        advice = f"if the file was updated on purpose, remove its line from {checksum_file()}"
        first = f"the first download had {expected[:12]}… ({advice})"
        known = f"{expected[:12]}… is published" if published else first
        raise BadFile(f"has SHA-256 {sha256[:12]}…, but {known}")


def remember_checksum(name: str, sha256: str, published: str | None = None) -> list[str]:
    """Save the checksum of a first download without a published one. Returns messages about it, at most one."""
    known = _remembered_checksums()
    if published is not None or name in known:
        return []
    trusted = f"No checksum of {name} is published, so this first download was trusted;"
    try:
        write_text(checksum_file(), json.dumps(known | {name: sha256}, indent=1, sort_keys=True) + "\n")
    except CycleGANError as error:
        return [f"{trusted} but its SHA-256 could not be saved: {error}"]
    return [f"{trusted} later ones must have the same SHA-256, saved in {checksum_file()}."]


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
