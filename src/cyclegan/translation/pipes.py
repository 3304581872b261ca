"""Translating through pipes: one image, or raw video frames one after the other."""

import tempfile
from pathlib import Path
from typing import IO

import numpy as np

from cyclegan.errors import CycleGANError
from cyclegan.imaging.decode import read_header, read_pixels
from cyclegan.imaging.encode import write_pixels
from cyclegan.translation.translator import Size, Translator

SUFFIXES = {"JPEG": ".jpg", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "NPY": ".npy", "NPZ": ".npz"}  # else .png


def translate_image_stream(
    translator: Translator, source: IO[bytes], target: IO[bytes] | Path, *, size: Size = "keep"
) -> None:
    """Translate the image that a stream holds into a file, or into a stream in the same format (or else as PNG).

    Raises `UnreadableImage` when it is not an image.
    """
    with tempfile.TemporaryDirectory() as folder:
        received = Path(folder) / "standard-input"
        received.write_bytes(source.read())
        translated = translator.translate(read_pixels(received, translator.input_spec), size)
        if isinstance(target, Path):
            write_pixels(translated, target)
            return
        result = Path(folder) / f"result{SUFFIXES.get(read_header(received).kind, '.png')}"
        write_pixels(translated, result)
        target.write(result.read_bytes())
        target.flush()


def translate_raw_frames(translator: Translator, source: IO[bytes], target: IO[bytes], width: int, height: int) -> int:
    """Translate frames of 8-bit RGB, row by row from the top, until the stream ends, and return their number.

    Raises `CycleGANError` when it ends within a frame.
    """
    count, length = 0, width * height * 3
    while True:
        chunk = b""  # a pipe may deliver a frame in several parts
        while len(chunk) < length and (part := source.read(length - len(chunk))):
            chunk += part
        if not chunk:
            return count
        if len(chunk) < length:
            raise CycleGANError(f"The input ends within frame {count + 1}; are its frames {width}x{height} of rgb24?")
        frame = np.frombuffer(chunk, np.uint8).reshape(height, width, 3)
        write_raw_frame(translator.translate(frame), target)
        count += 1


def write_raw_frame(frame: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], target: IO[bytes]) -> None:
    """Write a frame (H, W, 3) of 8-bit RGB at once."""
    target.write(np.ascontiguousarray(frame).tobytes())
    target.flush()
