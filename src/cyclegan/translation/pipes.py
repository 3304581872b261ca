"""Images through standard input and output: a picture, or raw frames one after the other."""

import tempfile
from pathlib import Path
from typing import IO, Literal

import numpy as np

from cyclegan.data.images import read_header, read_pixels, write_pixels
from cyclegan.errors import CycleGANError
from cyclegan.translation.translator import Translator

KINDS = {"JPEG": ".jpg", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "NPY": ".npy", "NPZ": ".npz"}


def translate_picture(
    translator: Translator, given: IO[bytes], made: IO[bytes] | Path, *, size: int | Literal["keep"] = "keep"
) -> None:
    """Translate the one image that a stream holds, into a file, or a stream in the same format; of others PNG.

    Raises `UnreadableImage` for what is no image.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "standard-input"
        source.write_bytes(given.read())
        translated = translator.translate(read_pixels(source, translator.reading), size)
        if isinstance(made, Path):
            write_pixels(translated, made)
            return
        result = Path(folder) / f"result{KINDS.get(read_header(source).kind, '.png')}"
        write_pixels(translated, result)
        made.write(result.read_bytes())
        made.flush()


def translate_raw(translator: Translator, given: IO[bytes], made: IO[bytes], width: int, height: int) -> int:
    """Translate frames of 8 bit RGB, rows from the top, until the stream ends, and return how many there were.

    Raises `CycleGANError` when it ends within a frame.
    """
    count, length = 0, width * height * 3
    while chunk := _exactly(given, length):
        if len(chunk) < length:
            raise CycleGANError(f"The input ends within frame {count + 1}; are its frames {width}x{height} of rgb24?")
        frame = np.frombuffer(chunk, np.uint8).reshape(height, width, 3)
        made.write(np.ascontiguousarray(translator.translate(frame)).tobytes())
        made.flush()
        count += 1
    return count


def _exactly(given: IO[bytes], length: int) -> bytes:
    """So many bytes, or fewer at the end; a pipe may give less at once."""
    parts = b""
    while len(parts) < length and (part := given.read(length - len(parts))):
        parts += part
    return parts
