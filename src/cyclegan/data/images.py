"""One image: from a file to pixels and back, whatever the file holds."""

import io
import logging
import os
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import tifffile
import torch
from PIL import Image, ImageCms
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch import Tensor

from cyclegan.errors import CycleGANError, UsageError

Array = np.ndarray[Any, Any]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
MOST_PIXELS = 500_000_000

# Above this many pixels a file must have some substance: a photograph takes a byte for one to twenty pixels, and 1000
# is what deflate reaches on nothing at all.
_SUSPECT_PIXELS, _PIXELS_PER_BYTE = 89_000_000, 1000

# Named here and not looked up by `Image.open`: some of Pillow's other decoders start programs of their own, and its
# limit of pixels is one for the whole process.
_DECODERS: dict[bytes, Callable[[IO[bytes]], ImageFile]] = {
    b"\xff\xd8\xff": JpegImageFile,
    b"\x89PNG": PngImageFile,
    b"RIFF": WebPImageFile,
    b"BM": BmpImageFile,
    b"GIF8": GifImageFile,
}
_TIFF_MODES = {0: "L", 1: "L", 2: "RGB", 5: "CMYK"}  # by PhotometricInterpretation
_MODES = {1: "L", 3: "RGB"}
_T = Image.Transpose
_TURNS = {
    2: _T.FLIP_LEFT_RIGHT, 3: _T.ROTATE_180, 4: _T.FLIP_TOP_BOTTOM, 5: _T.TRANSPOSE, 6: _T.ROTATE_270,
    7: _T.TRANSVERSE, 8: _T.ROTATE_90,
}  # fmt: skip
_JPEG: dict[str, Any] = {"quality": 95, "subsampling": 0}
_TIFF: dict[str, Any] = {"compression": "tiff_deflate"}
_SETTINGS = {".jpg": _JPEG, ".jpeg": _JPEG, ".webp": {"lossless": True}, ".tif": _TIFF, ".tiff": _TIFF}

_REASONS: dict[type[Exception], str] = {
    FileNotFoundError: "does not exist",
    PermissionError: "may not be read; check its permissions",
    MemoryError: "does not fit into memory",
    Image.DecompressionBombError: "claims more pixels than is safe to decode",
}

# What decoders murmur about odd metadata is not for the terminal. Filtered once, since `catch_warnings` is not safe
# among threads; Pillow's warning of decompression bombs, no UserWarning, stays for others to hear.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
for _library in ("PIL", "tifffile"):
    logging.getLogger(_library).addHandler(logging.NullHandler())


class UnreadableImage(CycleGANError):
    """A file that is no image, or a damaged one. The message names it and says what is wrong."""


@dataclass(frozen=True)
class Half:
    """One half of a file in which two images stand side by side. It is read as an image of its own."""

    path: Path
    side: Literal["left", "right"]

    @property
    def stem(self) -> str:
        """The file's name without suffix."""
        return self.path.stem

    def box(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Where the half is in a file of this width and height. Raises `UnreadableImage` for odd widths."""
        width, height = size
        if width % 2:
            raise UnreadableImage(f"{self.path} is {width} pixels wide, and has no two equal halves.")
        left = 0 if self.side == "left" else width // 2
        return left, 0, left + width // 2, height


Source = Path | Half  # where one image comes from


@dataclass(frozen=True)
class Header:
    """What a file says of its picture before the pixels."""

    kind: str  # "JPEG", "PNG", "WEBP", "BMP", "TIFF" or "GIF", whatever the file's suffix
    mode: str  # of the stored pixels, in Pillow's terms
    bits: int  # of one channel
    size: tuple[int, int]  # width and height, upright
    several: bool  # an animation, or several pages


class _Unfit(ValueError):
    """The rest of a sentence that begins with the name of the image."""


def read_image(path: Source, channels: int = 3, *, at_least: int | None = None) -> Image.Image:
    """Decode a file, or half of one, to mode "RGB" (3 channels) or "L" (1), 8 bit, upright by its EXIF orientation.

    Transparent parts become white; deep integers are scaled by the range of their bits, floats are taken as [0, 1];
    an embedded RGB profile is applied; of an animation or several pages the first is taken. With `at_least`, a large
    JPEG is decoded at 1/2, 1/4 or 1/8 of its size, which is quick, if its sides keep so many pixels. Files have at
    most `MOST_PIXELS`, and WebP and some compressed TIFFs at most twice Pillow's `MAX_IMAGE_PIXELS`. Raises
    `UnreadableImage`.
    """
    if isinstance(path, Half):
        whole = read_image(path.path, channels)
        return whole.crop(path.box(whole.size))
    with _opened(path) as file:
        image, profile = _decode_tiff(file) if _is_tiff(file) else _decode(file, at_least)
        image = in_eight_bits(_in_srgb(image, profile) if profile else image, channels)
        image.info = {}  # profile and transparency are applied, and must not be saved with the picture again
        return image


def check_header(path: Source) -> tuple[int, int]:
    """(width, height) as `read_image` would return them, from the header alone. Raises `UnreadableImage`."""
    return read_header(path).size


def read_header(path: Source) -> Header:
    """All that can be known of an image without decoding it. Raises `UnreadableImage`."""
    if isinstance(path, Half):
        header = read_header(path.path)
        left, top, right, bottom = path.box(header.size)
        return replace(header, size=(right - left, bottom - top))
    with _opened(path) as file:
        header, orientation = (_header_of_tiff if _is_tiff(file) else _header)(file)
        return replace(header, size=header.size[::-1]) if orientation in (5, 6, 7, 8) else header


def write_image(image: Image.Image, path: Path) -> None:
    """Encode by the path's suffix, under a temporary name first; missing folders are made.

    JPEG has quality 95 and full colour resolution; WebP is lossless. Raises `UsageError` for a suffix that is no
    image's, and `CycleGANError` when the format or the disk does not take it.
    """
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise UsageError(f"{path} has no image suffix; there are {', '.join(sorted(IMAGE_SUFFIXES))}.")
    if suffix in (".jpg", ".jpeg") and max(image.size) > 65_500:  # libjpeg would print its complaint
        raise CycleGANError(f"{path} cannot be written: JPEG has at most 65500 pixels a side; PNG has more.")
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(temporary, **_SETTINGS.get(suffix, {}))
        temporary.replace(path)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise CycleGANError(f"{path} cannot be written: {reason}.") from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def in_eight_bits(image: Image.Image, channels: int = 3) -> Image.Image:
    """An image of any mode in "RGB" (3 channels) or "L" (1): transparent parts white, 16 bit and floats scaled.

    Raises `ValueError` for deep values out of their range, [0, 65535] or [0, 1].
    """
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        if isinstance(clear := image.info.get("transparency"), int):
            values = np.where(values == clear, 65535, values)
        image = Image.fromarray(_scaled(values))
    elif image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return image if image.mode == _MODES[channels] else image.convert("RGB").convert(_MODES[channels])


def to_tensor(image: Image.Image | Array) -> Tensor:
    """Mode "RGB" or "L", or 8 bit (H, W) or (H, W, C), to float32 (C, H, W) in [-1, 1]."""
    planes = np.moveaxis(np.atleast_3d(np.asarray(image)), 2, 0)
    return torch.from_numpy(np.array(planes, order="C")).float().div_(127.5).sub_(1)


def to_image(tensor: Tensor) -> Image.Image:
    """(C, H, W) in [-1, 1], clamped and rounded, to mode "RGB" (C = 3) or "L" (C = 1)."""
    values = tensor.detach().float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    pixels = values.permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file; whatever a decoder raises becomes an `UnreadableImage`."""
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise _Unfit("is a folder, not an image" if path.is_dir() else "is no regular file")
        with path.open("rb") as file:
            yield file
    except _Unfit as error:
        raise UnreadableImage(f"{path} {error}.") from None
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise UnreadableImage(f"{path} {_reason(error)}.") from None


def _reason(error: Exception) -> str:
    if type(error) in _REASONS:
        return _REASONS[type(error)]
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read: {error.strerror}"
    early = "truncated" in str(error).lower()
    return f"is damaged ({'it ends before the picture does' if early else 'it cannot be decoded'})"


def _is_tiff(file: IO[bytes]) -> bool:
    start = file.read(4)
    file.seek(0)
    return start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _identify(file: IO[bytes]) -> ImageFile:
    """The image of a file that is no TIFF, its header read."""
    start = file.read(16)
    file.seek(0)
    for signature, decoder in _DECODERS.items():
        if start.startswith(signature):
            image = decoder(file)
            _require_sane(image.size, file)
            return image
    raise _Unfit("is no image of a known kind (JPEG, PNG, WebP, BMP, TIFF, GIF)" if start else "is empty")


def _require_sane(size: tuple[int, int], file: IO[bytes]) -> None:
    pixels = size[0] * size[1]
    hollow = pixels > _SUSPECT_PIXELS and pixels > _PIXELS_PER_BYTE * os.fstat(file.fileno()).st_size
    if hollow or pixels > MOST_PIXELS:
        raise _Unfit(f"claims {size[0]} x {size[1]} pixels, more than is safe to decode")


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


def _decode(file: IO[bytes], at_least: int | None = None) -> tuple[Image.Image, bytes | None]:
    """Pixels, upright, and the colour profile."""
    image = _identify(file)
    if at_least is not None:
        image.draft(None, (at_least, at_least))
    image.load()
    return _upright(image, _orientation(image, file)), image.info.get("icc_profile")


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


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Apply an RGB profile to a colour image; the result is "RGB" then."""
    if Image.getmodebase(image.mode) == "L":
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # Most profiles are sRGB itself, and converting would cost time and roundings.
        if source.profile.xcolor_space.strip() != "RGB" or "sRGB IEC61966" in ImageCms.getProfileDescription(source):
            return image
        converted = ImageCms.profileToProfile(in_eight_bits(image), source, ImageCms.createProfile("sRGB"))
    except (ImageCms.PyCMSError, OSError):
        return image  # a broken profile says nothing; the pixels are still good
    return converted or image


def _tiff_header(page: Any, file: IO[bytes]) -> tuple[tuple[int, int], int]:
    """Size as stored, and orientation."""
    size = int(page.imagewidth), int(page.imagelength)
    _require_sane(size, file)
    return size, int(page.tags.valueof("Orientation", default=1))


def _header_of_tiff(file: IO[bytes]) -> tuple[Header, int]:
    """The header as stored, and the orientation."""
    with tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages[0]
        size, orientation = _tiff_header(page, file)
        mode = _TIFF_MODES.get(page.photometric, "P" if page.photometric == 3 else "YCbCr")
        mode += "A" if page.extrasamples[:1] in ((1,), (2,)) else ""
        several = False
        with suppress(Exception):  # as above
            several = tiff.pages[1] is not None
        return Header("TIFF", mode, int(page.bitspersample), size, several), orientation


def _decode_tiff(file: IO[bytes]) -> tuple[Image.Image, bytes | None]:
    """Pixels, upright, and the colour profile: by tifffile if deep or large, by Pillow if not or if that fails."""
    with tifffile.TiffFile(file) as tiff:
        page: Any = tiff.pages[0]
        size, orientation = _tiff_header(page, file)
        profile = page.tags.valueof("InterColorProfile")
        large = size[0] * size[1] > _SUSPECT_PIXELS  # where Pillow warns, and soon refuses
        if (page.bitspersample > 8 or large) and page.photometric in _TIFF_MODES:
            try:
                values = page.asarray()
            except ValueError:  # compressed in a way that tifffile knows only with imagecodecs
                pass
            else:
                return _upright(_picture(values, page), orientation), profile
        inverted, bits = page.photometric == 0, page.bitspersample
    file.seek(0)
    try:
        image: Image.Image = TiffImageFile(file)
    except SyntaxError:
        raise _Unfit("is a TIFF of a kind that cannot be read; save it as 8 or 16 bit RGB") from None
    with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning) if large else nullcontext():
        image.load()  # Pillow turns TIFFs by itself
    if image.mode.startswith("I"):
        grey = _scaled(np.asarray(image), bits)
        image = Image.fromarray(255 - grey if inverted else grey)
    return image, profile


def _picture(values: Array, page: Any) -> Image.Image:
    """Values of a TIFF page, grey, colour or CMYK, with or without alpha, in the Pillow mode that says so."""
    mode = _TIFF_MODES[page.photometric]
    if values.ndim == 3 and page.planarconfig == 2:
        values = np.moveaxis(values, 0, -1)  # planes one after the other
    values, colours = np.atleast_3d(values), Image.getmodebands(mode)
    if values.ndim != 3 or values.shape[2] < colours:
        raise _Unfit(f"has the shape {values.shape}, which is that of no grey or colour image")
    if mode in ("L", "RGB") and page.extrasamples[:1] in ((1,), (2,)):
        mode, colours = mode + ("a" if page.extrasamples[0] == 1 else "A"), colours + 1
    values = _scaled(values[..., :colours], page.bitspersample)
    if page.photometric == 0:
        values[..., 0] = 255 - values[..., 0]  # white is 0
    return Image.frombytes(mode, values.shape[1::-1], values.tobytes()).convert(mode.upper())


def _scaled(values: Array, bits: int = 16) -> Array:
    """Values to 8 bit: integers by the range of their bits (of 16 if they have more), floats from [0, 1]."""
    kind = values.dtype.kind
    bits = min(bits - (kind == "i" and bits <= 16), 16)  # a sign takes one
    largest = 1 if kind == "f" else 2**bits - 1
    if kind not in "buif" or not (values.min() >= 0 and values.max() <= largest):  # NaN fails as well
        raise _Unfit(f"has values that are not between 0 and {largest}, and no scale is known for them")
    if kind == "f":
        return np.round(values.astype(np.float32) * 255).astype(np.uint8)
    table = np.round(np.arange(largest + 1) * (255 / largest)).astype(np.uint8)
    return np.asarray(table[values.astype(np.uint16)])
