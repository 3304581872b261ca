"""TIFF files: with Pillow, or with tifffile for deep images, any number of channels, and pages that are channels."""

import warnings
from contextlib import nullcontext, suppress
from typing import IO, Any

import numpy as np
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from cyclegan.imaging import source as sources
from cyclegan.imaging.image import Alpha, Stored, to_unit_range
from cyclegan.imaging.npy import channels_last
from cyclegan.imaging.source import Header, UnsupportedImage, expected_channels, require_plausible_size

_T = Image.Transpose
TRANSPOSES = {
    2: _T.FLIP_LEFT_RIGHT, 3: _T.ROTATE_180, 4: _T.FLIP_TOP_BOTTOM, 5: _T.TRANSPOSE, 6: _T.ROTATE_270,
    7: _T.TRANSVERSE, 8: _T.ROTATE_90,
}  # fmt: skip
_MODES = {0: "L", 1: "L", 2: "RGB", 5: "CMYK"}  # by PhotometricInterpretation
_ALPHAS: dict[int, Alpha] = {1: "premultiplied", 2: "straight"}  # by ExtraSamples


def is_tiff(start: bytes) -> bool:
    """Whether a file with these first bytes is a TIFF."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def apply_orientation(values: np.ndarray[Any, Any], orientation: int) -> np.ndarray[Any, Any]:
    """Rotate and flip (H, W, C) upright, by an EXIF orientation of 1 to 8."""
    values = values[:, ::-1] if orientation in (2, 3, 7, 8) else values
    values = values[::-1] if orientation in (3, 4, 6, 7) else values
    return values.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else values


def read_tiff_header(file: IO[bytes]) -> tuple[Header, int]:
    """The header as stored, and the EXIF orientation."""
    with tifffile.TiffFile(file, name="image") as tiff:
        page: Any = tiff.pages[0]
        size, orientation = _size(page, file)
        mode = _MODES.get(page.photometric, "P" if page.photometric == 3 else "YCbCr")
        mode += "A" if page.extrasamples[:1] in ((1,), (2,)) else ""
        several = False
        with suppress(Exception):  # the first page may be good even if the rest is damaged
            several = tiff.pages[1] is not None
        return Header("TIFF", mode, int(page.bitspersample), size, several), orientation


def decode_tiff(file: IO[bytes], channels: int) -> tuple[Image.Image | Stored, bytes | None]:
    """The upright pixels and the color profile: by tifffile if deep, large or of unusual channels, else by Pillow.

    Gray pages or planes, if there are `channels` of them, are the channels; otherwise the first page is the image.
    """
    with tifffile.TiffFile(file, name="image") as tiff:
        page: Any = tiff.pages[0]
        size, orientation = _size(page, file)
        profile = page.tags.valueof("InterColorProfile")
        large = size[0] * size[1] > sources.SUSPECT_PIXELS  # Pillow warns from this size on, and soon refuses
        if (stored := _planes(tiff, page, channels, file)) is not None:
            return stored, None
        extra = page.samplesperpixel - Image.getmodebands(_MODES.get(page.photometric, "L"))
        # Other channels than gray or color with or without alpha: Pillow would refuse them, or guess.
        is_unusual = extra > 1 or (extra == 1 and page.extrasamples[:1] not in ((1,), (2,)))
        if page.photometric in _MODES and (page.bitspersample > 8 or large or is_unusual):
            try:
                values = page.asarray()
            except ValueError:  # a compression that tifffile supports only with imagecodecs
                pass
            else:
                stored = _stored(values, page, orientation, channels)
                if page.photometric == 5:  # deep CMYK, in 8 bits like Pillow
                    cmyk = np.round(to_unit_range(stored.values, stored.bits) * 255).astype(np.uint8)
                    return Image.fromarray(cmyk, "CMYK"), profile
                return stored, profile
        inverted, bits = page.photometric == 0, page.bitspersample
    file.seek(0)
    try:
        image: Image.Image = TiffImageFile(file)
    except SyntaxError:
        raise UnsupportedImage("is an unsupported kind of TIFF; save it as 8 or 16 bit RGB") from None
    with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning) if large else nullcontext():
        image.load()  # Pillow applies the orientation of TIFFs itself
    if image.mode.startswith("I") or image.mode == "F":
        return Stored(np.asarray(image)[..., None], bits, inverted=inverted), profile
    return image, profile


def _size(page: Any, file: IO[bytes]) -> tuple[tuple[int, int], int]:
    """Width and height as stored, and the EXIF orientation."""
    size = int(page.imagewidth), int(page.imagelength)
    require_plausible_size(size, file)
    return size, int(page.tags.valueof("Orientation", default=1))


def _planes(tiff: Any, page: Any, channels: int, file: IO[bytes]) -> Stored | None:
    """The channels, if they are gray pages or an axis of a saved array; otherwise None."""
    if channels == 1 or page.samplesperpixel != 1 or page.photometric not in (0, 1):
        return None
    with suppress(IndexError):
        if tiff.pages[1] is None:
            return None
        series = tiff.series[0]
        sides = [side for side in series.shape if side != 1]
        if len(sides) == 3 and channels in (sides[0], sides[2]):
            require_plausible_size((sides[1], sides[2]), file, sides[0])
            values, _ = channels_last(series.asarray().reshape(sides), channels)
            return Stored(values, page.bitspersample, inverted=page.photometric == 0, is_image=False)
    return None


def _stored(values: np.ndarray[Any, Any], page: Any, orientation: int, channels: int) -> Stored:
    """The values of a page: gray, color or CMYK with or without alpha, or all its channels if they are `channels`."""
    colors = Image.getmodebands(_MODES[page.photometric])
    if values.ndim == 3 and page.planarconfig == 2:
        values = np.moveaxis(values, 0, -1)  # stored plane by plane
    values = np.atleast_3d(values)
    if values.ndim != 3 or values.shape[2] < colors:
        raise UnsupportedImage(f"has shape {values.shape}, which is not a gray or color image")
    values, held, bits = apply_orientation(values, orientation), values.shape[2], page.bitspersample
    if page.photometric == 5:
        return Stored(values[..., :4], bits, is_image=False)
    alpha = _ALPHAS.get(page.extrasamples[0], "") if page.extrasamples else ""
    inverted = page.photometric == 0
    if alpha and (held == colors + 1 or channels <= 4):
        return Stored(values[..., : colors + 1], bits, alpha, inverted)
    if held == channels:
        return Stored(values, bits, inverted=inverted, is_image=False)
    if held > colors and (colors == 1 or channels > 3):
        raise UnsupportedImage(f"has {held} channels, not the {expected_channels(channels)}")
    return Stored(values[..., :colors], bits, inverted=inverted)
