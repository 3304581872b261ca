"""Where one image comes from, what its header says, and the sentences for files that cannot be read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from PIL import Image

from cyclegan.errors import CycleGANError

MOST_PIXELS = 500_000_000

# Above this many pixels a file must have some substance: a photograph takes a byte for one to twenty pixels, and 1000
# is what deflate reaches on nothing at all.
SUSPECT_PIXELS, PIXELS_PER_BYTE = 89_000_000, 1000

_REASONS: dict[type[Exception], str] = {
    FileNotFoundError: "does not exist",
    PermissionError: "may not be read; check its permissions",
    MemoryError: "does not fit into memory",
    Image.DecompressionBombError: "claims more pixels than is safe to decode",
}


class UnreadableImage(CycleGANError):
    """A file that is no image, or a damaged one. The message names it and says what is wrong."""


class Unfit(ValueError):
    """The rest of a sentence that begins with the name of the image."""


@dataclass(frozen=True)
class Half:
    """One half of a file in which two images stand side by side. It is read as an image of its own."""

    path: Path
    side: Literal["left", "right"]

    @property
    def stem(self) -> str:
        """The file's name without suffix."""
        return self.path.stem

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Where the half is in a file of this width and height. Raises `UnreadableImage` for odd widths."""
        width, height = size
        if width % 2:
            raise UnreadableImage(f"{self.path} is {width} pixels wide, and has no two equal halves.")
        left = 0 if self.side == "left" else width // 2
        return left, 0, left + width // 2, height


Source = Path | Half  # where one image comes from


@dataclass(frozen=True)
class Header:
    """What a file says of its picture before the pixels."""

    kind: str  # "JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "NPY" or "NPZ", whatever the file's suffix
    mode: str  # of the stored pixels, in Pillow's terms; of arrays, the type of their numbers
    bits: int  # of one channel
    size: tuple[int, int]  # width and height, upright
    several: bool  # an animation, or several pages


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The file; whatever a decoder raises becomes an `UnreadableImage`."""
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise Unfit("is a folder, not an image" if path.is_dir() else "is no regular file")
        with path.open("rb") as file:
            yield file
    except Unfit as error:
        raise UnreadableImage(f"{path} {error}.") from None
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise UnreadableImage(f"{path} {_reason(error)}.") from None


def _reason(error: Exception) -> str:
    if type(error) in _REASONS:
        return _REASONS[type(error)]
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    early = "truncated" in str(error).lower()
    return f"is damaged ({'it ends before the picture does' if early else 'it cannot be decoded'})"


def require_sane(size: tuple[int, int], file: IO[bytes], channels: int = 1) -> None:
    """Raise `Unfit` for a width and height that are not to be trusted; those of `channels` channels count so often."""
    pixels = size[0] * size[1] * channels
    hollow = pixels > SUSPECT_PIXELS and pixels > PIXELS_PER_BYTE * os.fstat(file.fileno()).st_size
    if hollow or pixels > MOST_PIXELS:
        raise Unfit(f"claims {size[0]} x {size[1]} pixels, more than is safe to decode")


def wanted(channels: int) -> str:
    """The number of channels, for a sentence."""
    many = f"{channels} channels that are" if channels != 1 else "one channel that is"
    return f"{many} wanted (of training, by --channels-a and --channels-b)"
