"""TIFF: pictures as Pillow reads them, and what it does not: depth, any channels, and pages that are channels."""

import warnings
from contextlib import nullcontext, suppress
from typing import IO, Any

import numpy as np
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from cyclegan.imaging import source as sources
from cyclegan.imaging.image import Alpha, Stored, in_unit
from cyclegan.imaging.npy import channels_last
from cyclegan.imaging.source import Header, Unfit, require_sane, wanted

_T = Image.Transpose
TURNS = {
    2: _T.FLIP_LEFT_RIGHT, 3: _T.ROTATE_180, 4: _T.FLIP_TOP_BOTTOM, 5: _T.TRANSPOSE, 6: _T.ROTATE_270,
    7: _T.TRANSVERSE, 8: _T.ROTATE_90,
}  # fmt: skip
_MODES = {0: "L", 1: "L", 2: "RGB", 5: "CMYK"}  # by PhotometricInterpretation
_ALPHAS: dict[int, Alpha] = {1: "premultiplied", 2: "straight"}  # by ExtraSamples


def is_tiff(start: bytes) -> bool:
    """Whether a file that starts so is a TIFF."""
    return start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def turned(values: np.ndarray[Any, Any], orientation: int) -> np.ndarray[Any, Any]:
    """(H, W, C) upright, by the orientation 1 to 8 of EXIF."""
    values = values[:, ::-1] if orientation in (2, 3, 7, 8) else values
    values = values[::-1] if orientation in (3, 4, 6, 7) else values
    return values.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else values


def header_of_tiff(file: IO[bytes]) -> tuple[Header, int]:
    """The header as stored, and the orientation."""
    with tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages[0]
        size, orientation = _size(page, file)
        mode = _MODES.get(page.photometric, "P" if page.photometric == 3 else "YCbCr")
        mode += "A" if page.extrasamples[:1] in ((1,), (2,)) else ""
        several = False
        with suppress(Exception):  # the first picture may be good though what follows is not
            several = tiff.pages[1] is not None
        return Header("TIFF", mode, int(page.bitspersample), size, several), orientation


def decode_tiff(file: IO[bytes], channels: int) -> tuple[Image.Image | Stored, bytes | None]:
    """Pixels, upright, and the color profile: by tifffile if deep, large or of odd channels, else by Pillow.

    Gray pages or planes, as many as channels are wanted, are the channels; otherwise the first page is the picture.
    """
    with tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages[0]
        size, orientation = _size(page, file)
        profile = page.tags.valueof("InterColorProfile")
        large = size[0] * size[1] > sources.SUSPECT_PIXELS  # where Pillow warns, and soon refuses
        if (stored := _planes(tiff, page, channels, file)) is not None:
            return stored, None
        if page.photometric in _MODES and (page.bitspersample > 8 or large or _is_odd(page)):
            try:
                values = page.asarray()
            except ValueError:  # compressed in a way that tifffile knows only with imagecodecs
                pass
            else:
                stored = _stored(values, page, orientation, channels)
                return (_print(stored) if page.photometric == 5 else stored), profile
        inverted, bits = page.photometric == 0, page.bitspersample
    file.seek(0)
    try:
        image: Image.Image = TiffImageFile(file)
    except SyntaxError:
        raise Unfit("is a TIFF of a kind that cannot be read; save it as 8 or 16 bit RGB") from None
    with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning) if large else nullcontext():
        image.load()  # Pillow turns TIFFs by itself
    if image.mode.startswith("I") or image.mode == "F":
        return Stored(np.asarray(image)[..., None], bits, inverted=inverted), profile
    return image, profile


def _size(page: Any, file: IO[bytes]) -> tuple[tuple[int, int], int]:
    """Width and height as stored, and orientation."""
    size = int(page.imagewidth), int(page.imagelength)
    require_sane(size, file)
    return size, int(page.tags.valueof("Orientation", default=1))


def _is_odd(page: Any) -> bool:
    """Whether the channels are others than gray or color with or without alpha; Pillow would refuse, or guess."""
    colors = Image.getmodebands(_MODES[page.photometric])
    extra = page.samplesperpixel - colors
    return extra > 1 or (extra == 1 and page.extrasamples[:1] not in ((1,), (2,)))


def _planes(tiff: Any, page: Any, channels: int, file: IO[bytes]) -> Stored | None:
    """The channels, where they are gray pages or the axes of an array that was saved whole; else None."""
    if channels == 1 or page.samplesperpixel != 1 or page.photometric not in (0, 1):
        return None
    with suppress(IndexError):
        if tiff.pages[1] is None:
            return None
        series = tiff.series[0]
        sides = [side for side in series.shape if side != 1]
        if len(sides) == 3 and channels in (sides[0], sides[2]):
            require_sane((sides[1], sides[2]), file, sides[0])
            values, _ = channels_last(series.asarray().reshape(sides), channels)
            return Stored(values, page.bitspersample, inverted=page.photometric == 0, picture=False)
    return None


def _print(stored: Stored) -> Image.Image:
    """Deep CMYK as Pillow has it, in 8 bit."""
    return Image.fromarray(np.round(in_unit(stored.values, stored.bits) * 255).astype(np.uint8), "CMYK")


def _stored(values: np.ndarray[Any, Any], page: Any, orientation: int, channels: int) -> Stored:
    """Values of a page, gray, color or CMYK with or without alpha, or of more channels if so many are wanted."""
    colors = Image.getmodebands(_MODES[page.photometric])
    if values.ndim == 3 and page.planarconfig == 2:
        values = np.moveaxis(values, 0, -1)  # planes one after the other
    values = np.atleast_3d(values)
    if values.ndim != 3 or values.shape[2] < colors:
        raise Unfit(f"has the shape {values.shape}, which is that of no gray or color image")
    values, held, bits = turned(values, orientation), values.shape[2], page.bitspersample
    if page.photometric == 5:
        return Stored(values[..., :4], bits, picture=False)
    alpha = _ALPHAS.get(page.extrasamples[0], "") if page.extrasamples else ""
    inverted = page.photometric == 0
    if alpha and (held == colors + 1 or channels <= 4):
        return Stored(values[..., : colors + 1], bits, alpha, inverted)
    if held == channels:
        return Stored(values, bits, inverted=inverted, picture=False)
    if held > colors and (colors == 1 or channels > 3):
        raise Unfit(f"has {held} channels and not the {wanted(channels)}")
    return Stored(values[..., :colors], bits, inverted=inverted)
