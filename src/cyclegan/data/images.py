"""One image: from a file to pixels and back, whatever the file holds."""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile
from torch import Tensor

from cyclegan.errors import CycleGANError, UsageError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})

# Only these decoders: some of Pillow's others start programs of their own.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS_PER_SAMPLE = 258
_MODES = {1: "L", 3: "RGB"}


class UnreadableImage(CycleGANError):
    """A file that is no image, or a damaged one. The message names it and says what is wrong."""


def read_image(path: Path, channels: int = 3) -> Image.Image:
    """Decode a file to mode "RGB" (3 channels) or "L" (1), 8 bit, upright by its EXIF orientation.

    Transparent parts become white; 16 bit are scaled to 8; floats are taken as [0, 1]; embedded colour profiles are
    applied; of an animation or a TIFF of several pages the first is taken. Raises `UnreadableImage`.
    """
    with _sentences(path):
        try:
            with Image.open(path, formats=_FORMATS) as image:
                if _is_deep_colour_tiff(image):
                    return _read_deep_tiff(path).convert(_MODES[channels])
                image.load()
                return _to_eight_bits(_upright(image)).convert(_MODES[channels])
        except UnidentifiedImageError:
            if path.suffix.lower() not in (".tif", ".tiff"):
                raise
            return _read_deep_tiff(path).convert(_MODES[channels])


def check_header(path: Path) -> tuple[int, int]:
    """(width, height) as `read_image` would return them, from the header alone. Raises `UnreadableImage`."""
    with _sentences(path):
        try:
            with Image.open(path, formats=_FORMATS) as image:
                turned = image.getexif().get(_EXIF_ORIENTATION, 1) in (5, 6, 7, 8)
                return image.size[::-1] if turned else image.size
        except UnidentifiedImageError:
            if path.suffix.lower() not in (".tif", ".tiff"):
                raise
            with tifffile.TiffFile(path) as tiff:
                page: Any = tiff.pages[0]
                return int(page.imagewidth), int(page.imagelength)


def write_image(image: Image.Image, path: Path) -> None:
    """Encode by the path's suffix, under a temporary name first; missing folders are made.

    JPEG has quality 95 and full colour resolution; WebP is lossless. Raises `UsageError` for a suffix that is no
    image's, and `CycleGANError` when the disk does not take it.
    """
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise UsageError(f"{path} has no image suffix; there are {', '.join(sorted(IMAGE_SUFFIXES))}.")
    settings_of: dict[str, dict[str, Any]] = {
        ".jpg": {"quality": 95, "subsampling": 0},
        ".jpeg": {"quality": 95, "subsampling": 0},
        ".webp": {"lossless": True},
        ".tif": {"compression": "tiff_deflate"},
        ".tiff": {"compression": "tiff_deflate"},
    }
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(temporary, **settings_of.get(suffix, {}))
        temporary.replace(path)
    except OSError as error:
        raise CycleGANError(f"{path} cannot be written: {error.strerror or error}.") from None
    finally:
        if temporary.exists():
            temporary.unlink()


def to_tensor(image: Image.Image) -> Tensor:
    """Mode "RGB" or "L" to float32 (C, H, W) in [-1, 1]."""
    pixels = np.array(image, dtype=np.float32)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().div_(127.5).sub_(1)


def to_image(tensor: Tensor) -> Image.Image:
    """(C, H, W) in [-1, 1], clamped and rounded, to mode "RGB" (C = 3) or "L" (C = 1)."""
    values = tensor.detach().float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    pixels = values.permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into an `UnreadableImage`, and keep its warnings to itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if path.is_file() and path.stat().st_size == 0:
                raise UnreadableImage(f"{path} is empty.")
            yield
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage(f"{path} is no image, or not of a kind that can be read.") from None
    except IsADirectoryError:
        raise UnreadableImage(f"{path} is a folder, not an image.") from None
    except FileNotFoundError:
        raise UnreadableImage(f"{path} does not exist.") from None
    except PermissionError:
        raise UnreadableImage(f"{path} may not be read; check its permissions.") from None
    except Image.DecompressionBombError:
        raise UnreadableImage(f"{path} claims more pixels than is safe to decode.") from None
    except Exception as error:  # decoders raise nearly anything on damaged files
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        raise UnreadableImage(f"{path} is damaged ({reason}).") from None


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation and an embedded RGB profile."""
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)
    if profile and image.mode == "RGB":
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"))
        except (ImageCms.PyCMSError, OSError):
            return image  # a broken profile says nothing; the pixels are still good
        return converted if converted is not None else image
    return image


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Any mode to "L", "RGB" or "CMYK", transparent parts over white."""
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_scaled(np.asarray(image)))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        colours = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return image.convert("RGB") if image.mode in ("P", "YCbCr", "LAB", "HSV", "RGBX") else image


def _scaled(values: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Deep pixels to 8 bit: 16-bit integers by their full range, floats from [0, 1]."""
    if values.dtype == np.uint8:
        return values
    largest = 1.0 if np.issubdtype(values.dtype, np.floating) else 65535.0
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > largest:
        raise ValueError(f"its values are not between 0 and {largest:g}")
    return np.round(values.astype(np.float64) * (255 / largest)).astype(np.uint8)


def _is_deep_colour_tiff(image: Image.Image) -> bool:
    """Pillow takes the high bytes of these, and mistakes them when colours are in separate planes."""
    bits = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (8,)) if isinstance(image, TiffImageFile) else (8,)
    return len(bits) > 1 and max(bits) > 8


def _read_deep_tiff(path: Path) -> Image.Image:
    """TIFFs that Pillow does not know, such as three channels of 16 bit."""
    values = np.asarray(tifffile.imread(path, key=0))
    if values.ndim == 3 and values.shape[0] in (3, 4) and values.shape[2] not in (3, 4):
        values = np.moveaxis(values, 0, -1)  # planes one after the other
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        raise ValueError(f"its shape {values.shape} is that of no grey or colour image")
    return _to_eight_bits(Image.fromarray(_scaled(values)))
