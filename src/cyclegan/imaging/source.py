"""The source of one image, its header, and the errors for files that cannot be read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from PIL import Image

from cyclegan.errors import CycleGANError
from cyclegan.system.text import counted

MAX_PIXELS = 500_000_000

# Above this size, a file must have a plausible number of bytes: photos take one byte for 1 to 20 pixels, and deflate
# reaches 1000 only on blank images.
SUSPECT_PIXELS, MAX_PIXELS_PER_BYTE = 89_000_000, 1000

_REASONS: dict[type[Exception], str] = {
    FileNotFoundError: "does not exist",
    PermissionError: "cannot be read; check its permissions",
    MemoryError: "does not fit into memory",
    Image.DecompressionBombError: "claims more pixels than is safe to decode",
}


class UnreadableImage(CycleGANError):
    """A file that is damaged or not an image. The message names the file and the reason."""


class UnsupportedImage(ValueError):
    """Why an image cannot be used; the message continues a sentence that starts with its name."""


@dataclass(frozen=True)
class Half:
    """The left or right half of a file that holds two images side by side."""

    path: Path
    side: Literal["left", "right"]

    @property
    def stem(self) -> str:
        """The file's name without suffix."""
        return self.path.stem

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """The crop box in a file of this width and height. Raises `UnreadableImage` for odd widths."""
        width, height = size
        if width % 2:
            raise UnreadableImage(f"{self.path} is {width} pixels wide, so it cannot be split into two equal halves.")
        left = 0 if self.side == "left" else width // 2
        return left, 0, left + width // 2, height


Source = Path | Half  # where one image comes from


def path_of(source: Source) -> Path:
    """The file that holds an image."""
    return source.path if isinstance(source, Half) else source


@dataclass(frozen=True)
class Header:
    """What a file's header says about its image."""

    kind: str  # "JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "HEIF", "AVIF", "NPY" or "NPZ", by content, not by suffix
    mode: str  # Pillow's name for the stored pixel format; for arrays, the dtype
    bits: int  # per channel
    size: tuple[int, int]  # width and height, upright
    several: bool  # an animation, or several pages


@contextmanager
def open_image(source: Path | IO[bytes]) -> Iterator[IO[bytes]]:
    """Open an image file, or take an open one; every error in the block is raised as `UnreadableImage`."""
    path = source if isinstance(source, Path) else "The image"
    try:
        if not isinstance(source, Path):
            source.seek(0)
            yield source
            return
        if source.exists() and not source.is_file():  # opening a pipe would block forever
            raise UnsupportedImage("is a folder, not an image" if source.is_dir() else "is not a regular file")
        with source.open("rb") as file:
            yield file
    except UnsupportedImage as error:
        raise UnreadableImage(f"{path} {error}.") from None
    except Exception as error:  # decoders raise many types of errors for damaged files
        damage = "truncated" if "truncated" in str(error).lower() else "it cannot be decoded"
        reason = _REASONS.get(type(error), f"is damaged ({damage})")
        if isinstance(error, OSError) and error.strerror and type(error) not in _REASONS:
            reason = f"cannot be read: {error.strerror}"
        raise UnreadableImage(f"{path} {reason}.") from None


def require_plausible_size(size: tuple[int, int], file: IO[bytes], channels: int = 1) -> None:
    """Raise `UnsupportedImage` for images without pixels, too large ones, and those too large for their file."""
    if min(*size, channels) < 1:
        raise UnsupportedImage(f"claims {size[0]} x {size[1]} pixels, so it holds no image")
    pixels = size[0] * size[1] * channels
    if pixels > SUSPECT_PIXELS:
        here, length = file.tell(), file.seek(0, os.SEEK_END)
        file.seek(here)
        if pixels <= min(MAX_PIXELS, MAX_PIXELS_PER_BYTE * length):
            return
        raise UnsupportedImage(f"claims {size[0]} x {size[1]} pixels, more than is safe to decode")


def expected_channels(channels: int) -> str:
    """For error messages: the expected number of channels and where it is set."""
    return f"{counted(channels, 'channel')} expected (set by --channels-a and --channels-b for training)"
