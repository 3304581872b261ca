"""Decoding one image file of any supported format to pixels."""

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
from PIL import Image, ImageCms, features
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from cyclegan.imaging.image import COLOR, MODES, UINT8, Array, DecodeSpec, Pixels, Stored, to_pixels, to_uint8_image
from cyclegan.imaging.npy import decode_array, is_array, read_array_header
from cyclegan.imaging.source import (
    Half,
    Header,
    Source,
    UnreadableImage,
    UnsupportedImage,
    expected_channels,
    open_image,
    path_of,
    require_plausible_size,
)
from cyclegan.imaging.tiff import TRANSPOSES, apply_orientation, decode_tiff, is_tiff, read_tiff_header
from cyclegan.imaging.value_range import parse_color

# `Image.open` is not used: some of Pillow's other decoders start external programs, and its pixel limit is global.
_DECODERS: dict[bytes, Callable[[IO[bytes]], ImageFile]] = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG": PngImageFile,
    b"RIFF": WebPImageFile,
    b"BM": BmpImageFile,
    b"GIF8": GifImageFile,
}
_AVIF_BRANDS = (b"avif", b"avis")  # other files of this container are HEIC
HAS_DEEP_PNG = find_spec("imagecodecs") is not None  # PNG color of 16 bits is read in full depth
_ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")

HEIF_HINT = 'to read HEIC, install: pip install "cyclegan[heif]"'

# Decoders' warnings about odd metadata are silenced here, once, since `catch_warnings` is not thread-safe. Pillow's
# DecompressionBombWarning is not a UserWarning, so it still reaches callers.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
for _library in ("PIL", "tifffile"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


def read_pixels(source: Source | IO[bytes], spec: DecodeSpec = COLOR, *, min_side: int | None = None) -> Pixels:
    """Decode an image, a file or an open one, in the channels and value range of `spec`, upright as its EXIF data say.

    8 bit images stay uint8; deeper ones become float32. Gray and color are converted to each other; other numbers of
    channels must match. Transparent pixels are composited on the background, except for 2 and 4 channels, the last of
    which is alpha. Embedded RGB profiles are converted to sRGB, in 8 bits. Of animations and multi-page files the first
    image is read, but a TIFF with one gray page per channel is read whole. With `min_side`, a large JPEG is decoded at
    1/2, 1/4 or 1/8 of its size if its sides keep at least `min_side` pixels. Raises `UnreadableImage`, also for more
    than `MAX_PIXELS` pixels, and for WebP and some TIFFs of more than twice Pillow's `MAX_IMAGE_PIXELS`.
    """
    if isinstance(source, Half):
        whole = read_pixels(source.path, spec)
        return whole.crop(source.box(whole.size))
    with open_image(source) as file:
        decoded, profile = _decode(file, spec.channels, min_side)
        if profile and (foreign := _foreign_profile(profile)) is not None:
            if isinstance(decoded, Stored) and decoded.values.shape[2] >= 3:
                decoded = to_uint8_image(to_pixels(decoded, spec._replace(channels=3)))
            if isinstance(decoded, Image.Image) and Image.getmodebase(decoded.mode) != "L":
                with suppress(ImageCms.PyCMSError, OSError):
                    srgb = ImageCms.createProfile("sRGB")
                    decoded = ImageCms.profileToProfile(to_rgb_or_gray(decoded), foreign, srgb) or decoded
        return from_pil_image(decoded, spec) if isinstance(decoded, Image.Image) else to_pixels(decoded, spec)


def read_stored(source: Source, channels: int) -> Array:
    """Read the values as stored, without alpha: (H, W, C) of any numeric type. Raises `UnreadableImage`.

    8 bit gray and color are converted to `channels`.
    """
    with open_image(path_of(source)) as file:
        decoded, _ = _decode(file, channels, None)
        if isinstance(decoded, Image.Image) and decoded.mode not in ("I;16", "I;16B", "I", "F"):
            decoded = to_rgb_or_gray(decoded, 1 if channels <= 2 else 3)
        if isinstance(decoded, Image.Image):
            return np.atleast_3d(np.asarray(decoded))
        return decoded.values[..., :-1] if decoded.alpha else decoded.values


def read_labels(source: Source) -> Array:
    """Read a label map, (H, W, 1) of uint8: gray values or numbers of palette colors, as stored.

    Raises `UnreadableImage`, also for maps in color or of more than 8 bits.
    """
    with open_image(path_of(source)) as file:
        decoded, _ = _decode(file, 1, None)
        if isinstance(decoded, Image.Image) and decoded.mode in ("1", "L", "P"):
            return np.asarray(decoded)[..., None].astype(np.uint8)
        raise UnsupportedImage("is not a label map, which has one channel or a palette, in 8 bits")


def read_image(source: Source, channels: int = 3, *, min_side: int | None = None) -> Image.Image:
    """Read an image like `read_pixels`, as an 8 bit Pillow image in "RGB" (3 channels) or "L" (1)."""
    return to_uint8_image(read_pixels(source, DecodeSpec(channels), min_side=min_side))


def read_preview(source: Source, spec: DecodeSpec = COLOR, *, min_side: int | None = None) -> Image.Image:
    """Read an image as an RGB image for display, whatever its channels. Raises `UnreadableImage`."""
    with open_image(path_of(source)) as file:
        has_fixed_channels = spec.channels not in MODES or is_array(file.read(16))
    if not has_fixed_channels:
        with suppress(UnreadableImage):  # channels that are not gray or color cannot be converted
            return to_uint8_image(read_pixels(source, spec._replace(channels=3), min_side=min_side))
    return to_uint8_image(read_pixels(source, spec, min_side=min_side)).convert("RGB")


def image_size(source: Source) -> tuple[int, int]:
    """(width, height) as `read_image` would return them, from the header alone. Raises `UnreadableImage`."""
    return read_header(source).size


def read_header(source: Source | IO[bytes]) -> Header:
    """Read the properties of an image without decoding it. Raises `UnreadableImage`."""
    if isinstance(source, Half):
        header = read_header(source.path)
        left, top, right, bottom = source.box(header.size)
        return replace(header, size=(right - left, bottom - top))
    with open_image(source) as file:
        if is_array(start := _peek(file)):
            return read_array_header(file)
        header, orientation = (read_tiff_header if is_tiff(start) else _read_pillow_header)(file)
        return replace(header, size=header.size[::-1]) if orientation in (5, 6, 7, 8) else header


def from_pil_image(image: Image.Image, spec: DecodeSpec = COLOR) -> Pixels:
    """Convert a Pillow image of any mode to pixels. Raises `ValueError` if it does not fit `spec`."""
    if image.mode.startswith("I") or image.mode == "F":
        return to_pixels(_deep_gray(image), spec)
    has_alpha = image.mode in _ALPHA_MODES or "transparency" in image.info
    if spec.value_range is not None:
        colors = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
        values = np.atleast_3d(np.asarray(image.convert("RGBA").convert(colors + "A" * has_alpha)))
        return to_pixels(Stored(values, 8, "straight" if has_alpha else ""), spec)
    if spec.channels not in MODES:
        raise UnsupportedImage(f"has {len(image.getbands())} channels, not the {expected_channels(spec.channels)}")
    if spec.channels in (2, 4):
        return Pixels(np.asarray(image.convert("RGBA").convert(MODES[spec.channels])))
    values = np.asarray(to_rgb_or_gray(image, spec.channels, spec.background))
    alpha = np.asarray(image.convert("RGBA").getchannel("A")) if has_alpha else None
    return Pixels(np.atleast_3d(values), UINT8, alpha=alpha)


def to_rgb_or_gray(image: Image.Image, channels: int = 3, background: str = "white") -> Image.Image:
    """Convert an image of any mode to 8 bit "RGB" (3 channels) or "L" (1), composited on the background.

    Raises `ValueError` for deep values outside their range, [0, 65535] or [0, 1].
    """
    if image.mode.startswith("I") or image.mode == "F":
        return to_uint8_image(to_pixels(_deep_gray(image), DecodeSpec(channels, background=background)))
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        colors = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colors.size, parse_color(background)), colors)
    return image if image.mode == MODES[channels] else image.convert("RGB").convert(MODES[channels])


def _deep_gray(image: Image.Image) -> Stored:
    """The values of an image with one deep channel, in which one value may mean transparent."""
    values = np.asarray(image)[..., None]
    if isinstance(clear := image.info.get("transparency"), int):
        alpha = np.where(values == clear, 0, 65535)
        return Stored(np.concatenate([values, alpha], 2).astype(np.uint16), 16, "straight")
    return Stored(values.astype(np.uint16) if image.mode.startswith("I;16") else values)


def _peek(file: IO[bytes]) -> bytes:
    start = file.read(16)
    file.seek(0)
    return start


def _decode(file: IO[bytes], channels: int, min_side: int | None) -> tuple[Image.Image | Stored, bytes | None]:
    """The upright pixels and the color profile."""
    if is_array(start := _peek(file)):
        values, channels_first = decode_array(file, channels)
        return Stored(values, 8 * values.dtype.itemsize, is_image=False, channels_first=channels_first), None
    return decode_tiff(file, channels) if is_tiff(start) else _decode_pillow(file, min_side)


def _open_pillow(file: IO[bytes]) -> ImageFile:
    start = _peek(file)
    decoders = {start[:12]: _iso_decoder(start[8:12])} if start[4:8] == b"ftyp" else _DECODERS
    for signature, decoder in decoders.items():
        if start.startswith(signature):
            image = decoder(file)
            require_plausible_size(image.size, file)
            return image
    formats = "JPEG, PNG, WebP, BMP, TIFF, GIF, HEIC, AVIF, NPY, NPZ"
    raise UnsupportedImage(f"is not an image in a supported format ({formats})" if start else "is empty")


def _iso_decoder(brand: bytes) -> Callable[[IO[bytes]], ImageFile]:
    """The decoder of HEIC or AVIF. Raises `UnsupportedImage` when it is not installed."""
    if brand in _AVIF_BRANDS:
        if not features.check("avif"):
            raise UnsupportedImage("is an AVIF image, which this build of Pillow cannot read; convert it to PNG")
        return AvifImageFile
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise UnsupportedImage(f"is a HEIC image; {HEIF_HINT}") from None
    decoder: Callable[[IO[bytes]], ImageFile] = HeifImageFile
    return decoder


def can_read_heic() -> bool:
    """Whether the extra for HEIC images is installed."""
    try:
        import pillow_heif  # noqa: F401
    except ImportError:
        return False
    return True


def _read_pillow_header(file: IO[bytes]) -> tuple[Header, int]:
    """The header as stored, and the EXIF orientation."""
    image = _open_pillow(file)
    several, bits = False, 1 if image.mode == "1" else 8
    with suppress(Exception):  # the first frame may be good even if the rest is damaged
        several = bool(getattr(image, "is_animated", False))
    if isinstance(image, PngImageFile):
        file.seek(24)
        bits = file.read(1)[0]
    return Header(image.format or "", image.mode, bits, image.size, several), _orientation(image, file)


def _decode_pillow(file: IO[bytes], min_side: int | None) -> tuple[Image.Image | Stored, bytes | None]:
    image = _open_pillow(file)
    orientation, profile = _orientation(image, file), image.info.get("icc_profile")
    if (deep := _decode_deep_png(image, file)) is not None:
        return replace(deep, values=apply_orientation(deep.values, orientation)), profile
    if min_side is not None:
        image.draft(None, (min_side, min_side))
    image.load()
    return image.transpose(TRANSPOSES[orientation]) if orientation in TRANSPOSES else image, profile


def _decode_deep_png(image: ImageFile, file: IO[bytes]) -> Stored | None:
    """A 16 bit PNG with color or alpha, which Pillow reduces to 8 bits; None for others, or without imagecodecs."""
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
    """The EXIF orientation, 1 to 8; 1 if it is missing or broken."""
    if isinstance(image, PngImageFile) and "exif" not in image.info:  # it may come after the pixels
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"eXIf":
                image.info["exif"] = file.read(length)
                break
            file.seek(length + 4, os.SEEK_CUR)
    with suppress(Exception):
        return int(Image.Image.getexif(image).get(0x0112, 1))  # PngImageFile.getexif would decode all pixels first
    return 1


def _foreign_profile(profile: bytes) -> ImageCms.ImageCmsProfile | None:
    """An RGB profile other than sRGB, which most are and whose conversion would round; None if it is broken."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        is_rgb = source.profile.xcolor_space.strip() == "RGB"
        return source if is_rgb and "sRGB IEC61966" not in ImageCms.getProfileDescription(source) else None
    except (ImageCms.PyCMSError, OSError):
        return None
