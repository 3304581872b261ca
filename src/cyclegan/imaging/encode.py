"""Encoding pixels to an image file, in the depth and channels that its format supports."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.image import MODES, UINT8, Pixels, to_stored_values
from cyclegan.system.atomic import write_file

WRITTEN_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".npy", ".npz"})
HEIC_SUFFIXES = frozenset({".heic", ".heif"})
IMAGE_SUFFIXES = WRITTEN_SUFFIXES | HEIC_SUFFIXES | {".avif"}  # that can be read
LISTED_SUFFIXES = ", ".join(sorted(IMAGE_SUFFIXES))  # for messages
_ARRAYS, _TIFFS = (".npy", ".npz"), (".tif", ".tiff")
_LOSSY = (".jpg", ".jpeg", ".webp")
_JPEG: dict[str, Any] = {"quality": 95, "subsampling": 0}
_TIFF: dict[str, Any] = {"compression": "tiff_deflate"}
_OPTIONS = {".jpg": _JPEG, ".jpeg": _JPEG, ".webp": {"lossless": True, "exact": True}, ".tif": _TIFF, ".tiff": _TIFF}
_CHANNELS = {".png": (1, 2, 3, 4), ".webp": (1, 3, 4), ".jpg": (1, 3), ".jpeg": (1, 3), ".bmp": (1, 3)}


def supports_channels(suffix: str, channels: int) -> bool:
    """Whether files with this suffix can have this number of channels."""
    return channels in _CHANNELS.get(suffix.lower(), (channels,))


def written_suffix(suffix: str) -> str:
    """The suffix for a result of an image with this one: the same, or .png where that is only read."""
    return ".png" if suffix.lower() in IMAGE_SUFFIXES - WRITTEN_SUFFIXES else suffix


def write_image(image: Image.Image, path: Path, quality: int | None = None) -> None:
    """Write a Pillow image in the format of the path's suffix, atomically; missing folders are created.

    JPEG has quality 95 without chroma subsampling; WebP is lossless. With `quality`, from 1 to 100, both are lossy with
    Pillow's settings. Raises `UsageError` for a suffix that is not an
    image's, and `CycleGANError` when the file cannot be written.
    """
    require_written_suffix(path)
    if path.suffix.lower() in _ARRAYS:
        write_pixels(Pixels(np.atleast_3d(np.asarray(image))), path)
        return
    if path.suffix.lower() in (".jpg", ".jpeg") and max(image.size) > 65_500:  # libjpeg would print to stderr
        raise CycleGANError(f"{path} cannot be written: JPEG is limited to 65500 pixels per side; use PNG.")
    options = _OPTIONS.get(path.suffix.lower(), {}) if quality is None else {"quality": quality}
    write_file(path, lambda temporary: image.save(temporary, **options))


def write_pixels(pixels: Pixels, path: Path, quality: int | None = None) -> None:
    """Write an image in the format of the path's suffix, in its own type and range where the format supports them.

    PNG supports 8 and 16 bits, TIFF and NumPy files any type, the others 8 bits. A separate alpha channel is written
    if the format supports one. `quality` is that of JPEG and WebP, as in `write_image`. Raises like `write_image`.
    """
    require_written_suffix(path)
    suffix, channels = path.suffix.lower(), pixels.values.shape[2]
    if not supports_channels(suffix, channels):
        raise CycleGANError(f"{path} cannot be written: {suffix} cannot have {channels} channels; use .tif or .npy.")
    dtype = pixels.dtype
    if suffix in _TIFFS and dtype == np.float16:
        dtype = np.dtype(np.float32)
    elif suffix not in (*_ARRAYS, *_TIFFS):
        dtype = np.dtype(np.uint16) if suffix == ".png" and dtype != np.uint8 else UINT8
    with_alpha = pixels.alpha is not None and channels in (1, 3) and supports_channels(suffix, channels + 1)
    values = to_stored_values(pixels, dtype, with_alpha)
    flat = values[..., 0] if values.shape[2] == 1 else np.ascontiguousarray(values)
    if suffix in _ARRAYS:
        array = np.ascontiguousarray(np.moveaxis(values, 2, 0) if pixels.channels_first else flat)
        save: Callable[..., None] = np.save if suffix == ".npy" else np.savez_compressed
        write_file(path, lambda temporary: save(temporary, array))
    elif dtype == np.uint8 and values.shape[2] in MODES and (channels in (1, 3) or suffix not in _TIFFS):
        write_image(Image.fromarray(flat), path, quality if suffix in _LOSSY else None)
    elif suffix in _TIFFS:
        colors = 3 if values.shape[2] in (3, 4) else 1
        options: dict[str, Any] = {"photometric": "rgb" if colors == 3 else "minisblack"}
        if values.shape[2] > 1:
            options["planarconfig"] = "contig"
        if extra := values.shape[2] - colors:
            options["extrasamples"] = ["unassalpha" if with_alpha else "unspecified"] * extra
        write_file(path, lambda to: tifffile.imwrite(to, flat, compression="zlib", metadata=None, **options))
    elif values.shape[2] == 1:
        write_image(Image.fromarray(flat), path)
    else:
        try:
            from imagecodecs import png_encode
        except ImportError:
            advice = 'needs imagecodecs (pip install "cyclegan[deep]"); or use .tif'
            raise CycleGANError(f"{path} cannot be written: 16 bit color PNG {advice}.") from None
        write_file(path, lambda temporary: temporary.write_bytes(png_encode(flat)))


def require_written_suffix(path: Path) -> None:
    """Raise `UsageError` for a path whose suffix is not that of an image format that can be written."""
    if path.suffix.lower() not in WRITTEN_SUFFIXES:
        raise UsageError(f"{path} cannot be written; its suffix must be one of {', '.join(sorted(WRITTEN_SUFFIXES))}.")
