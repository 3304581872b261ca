"""What archives must be like: published checksums, and those kept after a first download (trust on first use)."""

import hashlib
import json
import os
from pathlib import Path

from cyclegan.data.archives import BadArchive
from cyclegan.data.catalogue import Entry
from cyclegan.errors import CycleGANError
from cyclegan.machine import user_folder


def ledger() -> Path:
    """The file of the checksums that were kept, in the user's folder for caches."""
    return user_folder() / "checksums.json"


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
            f"(if it has changed for a good reason, remove its line from {ledger()})"
        )


def keep(entry: Entry, sha256: str) -> str | None:
    """Keep the checksum of a first download that none is published for. Returns the sentence that says so."""
    kept = _kept()
    if entry.sha256 is not None or entry.name in kept:
        return None
    file = ledger()
    trusted = f"No checksum of {entry.name} is published, so this first download was trusted;"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_name(f"{file.name}.{os.getpid()}")
        temporary.write_text(json.dumps(kept | {entry.name: sha256}, indent=1, sort_keys=True) + "\n", "utf-8")
        temporary.replace(file)
    except OSError as error:
        return f"{trusted} its SHA-256 could not be kept in {file} ({error.strerror or error})."
    return f"{trusted} later ones must have the same SHA-256, kept in {file}."


def _kept() -> dict[str, str]:
    file = ledger()
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        kept = None
    if not isinstance(kept, dict) or not all(isinstance(each, str) for each in kept.values()):
        raise CycleGANError(f"{file} is damaged; remove it, and the next downloads will be trusted anew.")
    return kept
