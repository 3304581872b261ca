"""Text files that are written whole or not at all."""

import os
from pathlib import Path

from cyclegan.errors import CycleGANError


def write_whole(text: str, path: Path) -> None:
    """Write a text file under a temporary name first; what UTF-8 has no sign for becomes "?".

    Raises `CycleGANError` when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8", errors="replace")
        temporary.replace(path)
    except OSError as error:
        raise CycleGANError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        temporary.unlink(missing_ok=True)
