"""One image: from pixels to a file, in the kind and depth that the file's suffix can hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.image import MODES, UINT8, Array, Pixels, to_stored_alpha, to_stored_values
from cyclegan.system.atomic import write_file

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".npy", ".npz"})
_ARRAYS, _TIFFS = (".npy", ".npz"), (".tif", ".tiff")
_JPEG: dict[str, Any] = {"quality": 95, "subsampling": 0}
_TIFF: dict[str, Any] = {"compression": "tiff_deflate"}
_SETTINGS = {".jpg": _JPEG, ".jpeg": _JPEG, ".webp": {"lossless": True, "exact": True}, ".tif": _TIFF, ".tiff": _TIFF}
_CHANNELS = {".png": (1, 2, 3, 4), ".webp": (1, 3, 4), ".jpg": (1, 3), ".jpeg": (1, 3), ".bmp": (1, 3)}


def holds(suffix: str, channels: int) -> bool:
    """Whether files of this suffix can have so many channels."""
    return channels in _CHANNELS.get(suffix.lower(), (channels,))


def write_image(image: Image.Image, path: Path) -> None:
    """Encode a picture by the path's suffix, under a temporary name first; missing folders are made.

    JPEG has quality 95 and full color resolution; WebP is lossless. Raises `UsageError` for a suffix that is no
    image's, and `CycleGANError` when the format or the disk does not take it.
    """
    _require_suffix(path)
    if path.suffix.lower() in _ARRAYS:
        write_pixels(Pixels(np.atleast_3d(np.asarray(image))), path)
        return
    if path.suffix.lower() in (".jpg", ".jpeg") and max(image.size) > 65_500:  # libjpeg would print its complaint
        raise CycleGANError(f"{path} cannot be written: JPEG has at most 65500 pixels a side; PNG has more.")
    write_file(path, lambda temporary: image.save(temporary, **_SETTINGS.get(path.suffix.lower(), {})))


def write_pixels(pixels: Pixels, path: Path) -> None:
    """Encode an image by the path's suffix, in its own kind and range where the format can hold them.

    PNG holds 8 and 16 bit, TIFF and numpy's files hold everything, the others 8 bit. Alpha that was kept aside is
    put back where there is room for it. Raises as `write_image`.
    """
    _require_suffix(path)
    suffix, channels = path.suffix.lower(), pixels.values.shape[2]
    if not holds(suffix, channels):
        raise CycleGANError(f"{path} cannot be written: {suffix} has no {channels} channels; .tif and .npy have.")
    dtype = _deepest(suffix, pixels.dtype)
    values = to_stored_values(pixels, dtype)
    kept = pixels.alpha is not None and channels in (1, 3) and holds(suffix, channels + 1)
    if pixels.alpha is not None and kept:
        values = np.concatenate([values, to_stored_alpha(pixels.alpha, dtype)[..., None]], 2)
    if suffix in _ARRAYS:
        _write_array(values, path, pixels.channels_first)
    elif dtype == np.uint8 and values.shape[2] in MODES and (channels in (1, 3) or suffix not in _TIFFS):
        write_image(Image.fromarray(values[..., 0] if values.shape[2] == 1 else np.ascontiguousarray(values)), path)
    elif suffix in _TIFFS:
        _write_tiff(values, path, kept)
    elif values.shape[2] == 1:
        write_image(Image.fromarray(values[..., 0]), path)
    else:
        _write_deep_png(values, path)


def _deepest(suffix: str, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type of numbers in a file of this suffix for an image of that type."""
    if suffix in _ARRAYS:
        return dtype
    if suffix in _TIFFS:
        return np.dtype(np.float32) if dtype == np.float16 else dtype
    return np.dtype(np.uint16) if suffix == ".png" and dtype != np.uint8 else UINT8


def _write_array(values: Array, path: Path, channels_first: bool) -> None:
    values = np.moveaxis(values, 2, 0) if channels_first else values[..., 0] if values.shape[2] == 1 else values
    save: Callable[..., None] = np.save if path.suffix.lower() == ".npy" else np.savez_compressed
    write_file(path, lambda temporary: save(temporary, np.ascontiguousarray(values)))


def _write_tiff(values: Array, path: Path, has_alpha: bool) -> None:
    """In tifffile's words, deflated; the channels beyond gray or color are alpha or nothing in particular."""
    colors = 3 if values.shape[2] in (3, 4) else 1
    extra = ["unassalpha" if has_alpha else "unspecified"] * (values.shape[2] - colors)
    kind: dict[str, Any] = {"photometric": "rgb" if colors == 3 else "minisblack", "extrasamples": extra or None}
    values = values[..., 0] if values.shape[2] == 1 else values
    kind |= {"planarconfig": "contig"} if values.ndim == 3 else {}
    write_file(path, lambda temporary: tifffile.imwrite(temporary, values, compression="zlib", metadata=None, **kind))


def _write_deep_png(values: Array, path: Path) -> None:
    try:
        from imagecodecs import png_encode
    except ImportError:
        raise CycleGANError(
            f"{path} cannot be written: PNG of 16 bit in color needs `pip install 'cyclegan[deep]'`; .tif does not."
        ) from None
    write_file(path, lambda temporary: temporary.write_bytes(png_encode(np.ascontiguousarray(values))))


def _require_suffix(path: Path) -> None:
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise UsageError(f"{path} has no image suffix; there are {', '.join(sorted(IMAGE_SUFFIXES))}.")
