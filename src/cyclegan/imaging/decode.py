"""One image: from a file to pixels, whatever the file holds."""

import io
import logging
import os
import struct
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from typing import IO

import numpy as np
from PIL import Image, ImageCms
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from cyclegan.imaging.encode import IMAGE_SUFFIXES, write_image, write_pixels
from cyclegan.imaging.image import (
    COLOR,
    MODES,
    UINT8,
    Array,
    Pixels,
    Reading,
    Stored,
    shown,
    to_image,
    to_pixels,
    to_tensor,
)
from cyclegan.imaging.npy import decode_array, header_of_array, is_array
from cyclegan.imaging.source import Half, Header, Source, Unfit, UnreadableImage, opened, require_sane, wanted
from cyclegan.imaging.tiff import TURNS, decode_tiff, header_of_tiff, is_tiff, turned
from cyclegan.imaging.value_range import parse_color

__all__ = [
    "COLOR", "DEEP_PNG", "IMAGE_SUFFIXES", "Half", "Header", "Pixels", "Reading", "Source", "UnreadableImage",
    "check_header", "in_eight_bits", "pixels_of", "preview", "read_header", "read_image", "read_pixels", "read_stored",
    "shown", "to_image", "to_tensor", "write_image", "write_pixels",
]  # fmt: skip

# Named here and not looked up by `Image.open`: some of Pillow's other decoders start programs of their own, and its
# limit of pixels is one for the whole process.
_DECODERS: dict[bytes, Callable[[IO[bytes]], ImageFile]] = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG": PngImageFile,
    b"RIFF": WebPImageFile,
    b"BM": BmpImageFile,
    b"GIF8": GifImageFile,
}
DEEP_PNG = find_spec("imagecodecs") is not None  # whether PNG of 16 bit in color is read in full depth
_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")

# What decoders murmur about odd metadata is not for the terminal. Filtered once, since `catch_warnings` is not safe
# among threads; Pillow's warning of decompression bombs, no UserWarning, stays for others to hear.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
for _library in ("PIL", "tifffile"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


def read_pixels(source: Source, reading: Reading = COLOR, *, at_least: int | None = None) -> Pixels:
    """Decode a file, or half of one, in the channels and the range that are wanted, upright by its EXIF orientation.

    Pictures of 8 bit keep it; deeper ones come in float32. Gray and color become each other, transparent parts take
    the background's color unless 2 or 4 channels are wanted, the last of which is alpha then; other numbers of
    channels must be the file's. An embedded RGB profile is applied, in 8 bit; of an animation or several pages the
    first is taken, but of a TIFF with as many gray pages as channels, all. With `at_least`, a large JPEG is decoded
    at 1/2, 1/4 or 1/8 of its size, which is quick, if its sides keep so many pixels. Files have at most `MOST_PIXELS`,
    and WebP and some compressed TIFFs at most twice Pillow's `MAX_IMAGE_PIXELS`. Raises `UnreadableImage`.
    """
    if isinstance(source, Half):
        whole = read_pixels(source.path, reading)
        return whole.crop(source.box(whole.size))
    with opened(source) as file:
        decoded, profile = _decoded(file, reading.channels, at_least)
        if isinstance(decoded, Image.Image):
            return pixels_of(_in_srgb(decoded, profile) if profile else decoded, reading)
        if profile and decoded.values.shape[2] >= 3 and (foreign := _other_space(profile)) is not None:
            in_three = to_pixels(decoded, reading._replace(channels=3))
            return pixels_of(_converted(shown(in_three), foreign), reading)
        return to_pixels(decoded, reading)


def read_stored(source: Source, channels: int) -> Array:
    """The values of gray, color or other channels as they are stored, (H, W, C) of any type of numbers.

    Of what has gray or color in 8 bit, they come in `channels`. Raises `UnreadableImage`.
    """
    with opened(source.path if isinstance(source, Half) else source) as file:
        decoded, _ = _decoded(file, channels, None)
        if isinstance(decoded, Image.Image) and decoded.mode not in ("I;16", "I;16B", "I", "F"):
            decoded = in_eight_bits(decoded, 1 if channels <= 2 else 3)
        if isinstance(decoded, Image.Image):
            return np.atleast_3d(np.asarray(decoded))
        return decoded.values[..., :-1] if decoded.alpha else decoded.values


def read_image(source: Source, channels: int = 3, *, at_least: int | None = None) -> Image.Image:
    """As `read_pixels`, as an 8 bit picture in "RGB" (3 channels) or "L" (1), whatever the file's depth."""
    return shown(read_pixels(source, Reading(channels), at_least=at_least))


def preview(source: Source, reading: Reading = COLOR, *, at_least: int | None = None) -> Image.Image:
    """An image as it is read, to look at: in color, whatever its channels. Raises `UnreadableImage`."""
    if reading.channels in MODES and not _holds_array(source):
        with suppress(UnreadableImage):  # some have channels of another meaning
            return shown(read_pixels(source, reading._replace(channels=3), at_least=at_least))
    return shown(read_pixels(source, reading, at_least=at_least)).convert("RGB")


def _holds_array(source: Source) -> bool:
    path = source.path if isinstance(source, Half) else source
    with opened(path) as file:
        return is_array(file.read(16))


def check_header(path: Source) -> tuple[int, int]:
    """(width, height) as `read_image` would return them, from the header alone. Raises `UnreadableImage`."""
    return read_header(path).size


def read_header(path: Source) -> Header:
    """All that can be known of an image without decoding it. Raises `UnreadableImage`."""
    if isinstance(path, Half):
        header = read_header(path.path)
        left, top, right, bottom = path.box(header.size)
        return replace(header, size=(right - left, bottom - top))
    with opened(path) as file:
        start = _start(file)
        if is_array(start):
            return header_of_array(file)
        header, orientation = (header_of_tiff if is_tiff(start) else _header)(file)
        return replace(header, size=header.size[::-1]) if orientation in (5, 6, 7, 8) else header


def pixels_of(image: Image.Image, reading: Reading = COLOR) -> Pixels:
    """A picture of any mode as pixels. Raises `ValueError` when it does not fit."""
    if image.mode.startswith("I") or image.mode == "F":
        return to_pixels(_deep(image), reading)
    has_alpha = image.mode in _ALPHA or "transparency" in image.info
    if reading.span is not None:
        colors = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
        values = np.atleast_3d(np.asarray(image.convert("RGBA").convert(colors + "A" * has_alpha)))
        return to_pixels(Stored(values, 8, "straight" if has_alpha else ""), reading)
    if reading.channels not in MODES:
        raise Unfit(f"has {len(image.getbands())} channels and not the {wanted(reading.channels)}")
    if reading.channels in (2, 4):
        return Pixels(np.asarray(image.convert("RGBA").convert(MODES[reading.channels])))
    values = np.asarray(in_eight_bits(image, reading.channels, reading.background))
    alpha = np.asarray(image.convert("RGBA").getchannel("A")) if has_alpha else None
    return Pixels(np.atleast_3d(values), UINT8, alpha=alpha)


def in_eight_bits(image: Image.Image, channels: int = 3, background: str = "white") -> Image.Image:
    """An image of any mode in "RGB" (3 channels) or "L" (1): transparent parts on a background, 16 bit, floats scaled.

    Raises `ValueError` for deep values out of their range, [0, 65535] or [0, 1].
    """
    if image.mode.startswith("I") or image.mode == "F":
        return shown(to_pixels(_deep(image), Reading(channels, background=background)))
    if image.mode in _ALPHA or "transparency" in image.info:
        colors = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colors.size, parse_color(background)), colors)
    return image if image.mode == MODES[channels] else image.convert("RGB").convert(MODES[channels])


def _deep(image: Image.Image) -> Stored:
    """A picture of one deep channel, in which one value may be transparent."""
    values = np.asarray(image)[..., None]
    if isinstance(clear := image.info.get("transparency"), int):
        alpha = np.where(values == clear, 0, 65535)
        return Stored(np.concatenate([values, alpha], 2).astype(np.uint16), 16, "straight")
    return Stored(values.astype(np.uint16) if image.mode.startswith("I;16") else values)


def _start(file: IO[bytes]) -> bytes:
    start = file.read(16)
    file.seek(0)
    return start


def _decoded(file: IO[bytes], channels: int, at_least: int | None) -> tuple[Image.Image | Stored, bytes | None]:
    """Pixels, upright, and the color profile."""
    start = _start(file)
    if is_array(start):
        values, first = decode_array(file, channels)
        return Stored(values, 8 * values.dtype.itemsize, picture=False, channels_first=first), None
    return decode_tiff(file, channels) if is_tiff(start) else _decode(file, at_least)


def _identify(file: IO[bytes]) -> ImageFile:
    """The image of a file that is no TIFF, its header read."""
    start = _start(file)
    for signature, decoder in _DECODERS.items():
        if start.startswith(signature):
            image = decoder(file)
            require_sane(image.size, file)
            return image
    raise Unfit("is no image of a known kind (JPEG, PNG, WebP, BMP, TIFF, GIF, NPY, NPZ)" if start else "is empty")


def _header(file: IO[bytes]) -> tuple[Header, int]:
    """The header as stored, and the orientation, of a file that is no TIFF."""
    image = _identify(file)
    several, bits = False, 1 if image.mode == "1" else 8
    with suppress(Exception):  # the first picture may be good though what follows is not
        several = bool(getattr(image, "is_animated", False))
    if isinstance(image, PngImageFile):
        file.seek(24)
        bits = file.read(1)[0]
    return Header(image.format or "", image.mode, bits, image.size, several), _orientation(image, file)


def _decode(file: IO[bytes], at_least: int | None) -> tuple[Image.Image | Stored, bytes | None]:
    """As `_decoded`, of a file that is neither array nor TIFF."""
    image = _identify(file)
    orientation, profile = _orientation(image, file), image.info.get("icc_profile")
    if (deep := _deep_colors(image, file)) is not None:
        return replace(deep, values=turned(deep.values, orientation)), profile
    if at_least is not None:
        image.draft(None, (at_least, at_least))
    image.load()
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image, profile


def _deep_colors(image: ImageFile, file: IO[bytes]) -> Stored | None:
    """A PNG of 16 bit in color or with alpha, which Pillow reads in 8 bit; None for others, or without imagecodecs."""
    if not isinstance(image, PngImageFile) or "transparency" in image.info:
        return None
    file.seek(24)
    bits, kind = file.read(2)
    file.seek(0)
    if bits != 16 or kind not in (2, 4, 6):
        return None
    try:
        from imagecodecs import png_decode
    except ImportError:
        return None
    values = png_decode(file.read())
    return Stored(values, 16, "straight" if kind in (4, 6) else "")


def _orientation(image: ImageFile, file: IO[bytes]) -> int:
    """1 to 8 as in EXIF; 1 if it is missing or broken."""
    if isinstance(image, PngImageFile) and "exif" not in image.info and (late := _exif_chunk(file)):
        image.info["exif"] = late
    with suppress(Exception):
        return int(Image.Image.getexif(image).get(0x0112, 1))  # a PNG's own would decode all pixels first
    return 1


def _exif_chunk(file: IO[bytes]) -> bytes | None:
    """EXIF of a PNG may stand behind the pixels; step over them."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind == b"eXIf":
            return file.read(length)
        file.seek(length + 4, os.SEEK_CUR)
    return None


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Apply an RGB profile to a color image; the result is "RGB" then."""
    if Image.getmodebase(image.mode) == "L" or (foreign := _other_space(profile)) is None:
        return image
    return _converted(image, foreign)


def _other_space(profile: bytes) -> ImageCms.ImageCmsProfile | None:
    """An RGB profile; None if it is broken, which says nothing, or sRGB's: most are, and converting rounds."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        in_rgb = source.profile.xcolor_space.strip() == "RGB"
        return source if in_rgb and "sRGB IEC61966" not in ImageCms.getProfileDescription(source) else None
    except (ImageCms.PyCMSError, OSError):
        return None


def _converted(image: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    try:
        return ImageCms.profileToProfile(in_eight_bits(image), source, ImageCms.createProfile("sRGB")) or image
    except (ImageCms.PyCMSError, OSError):
        return image
