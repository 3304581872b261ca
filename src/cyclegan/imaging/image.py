"""Pixels inside the program: (H, W, C) of uint8, or of float32 in [0, 1] where a file has more than 8 bits.

float32 carries 16 bits exactly, and all that networks see of more. How values are stored is kept beside them, so that
results are written in the same kind.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from cyclegan.errors import UsageError
from cyclegan.imaging.source import Unfit, wanted
from cyclegan.imaging.value_range import Span, parse_color

Array = np.ndarray[Any, Any]
Alpha = Literal["", "straight", "premultiplied"]

COARSEST = 16  # steps; with fewer between black and white, whole numbers are no images
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow turns colors into gray
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
UINT8 = np.dtype(np.uint8)


class Reading(NamedTuple):
    """How the images of a domain are read: all that their pixels depend on beside the file."""

    channels: int = 3
    span: Span | None = None  # the stored values that are black and white; None for those of the file's type
    background: str = "white"  # what transparent parts are laid on


COLOR = Reading()  # three channels, in the range of their type


@dataclass(frozen=True)
class Pixels:
    """An image of any number of channels, and how it is stored."""

    values: Array  # (H, W, C), uint8, or float32 in [0, 1]
    dtype: np.dtype[Any] = UINT8  # of the stored values
    span: Span | None = None  # as of `Reading`
    alpha: Array | None = None  # (H, W) as `values`: kept aside, while `values` lie on the background
    channels_first: bool = False  # in a file or array of three axes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.values.shape[1], self.values.shape[0]

    def resized(self, size: tuple[int, int]) -> "Pixels":
        """The image in another width and height."""
        if self.size == size:
            return self
        alpha = None if self.alpha is None else resized(self.alpha[..., None], size)[..., 0]
        return replace(self, values=resized(self.values, size), alpha=alpha)

    def crop(self, box: tuple[int, int, int, int]) -> "Pixels":
        """The part from left and top to right and bottom."""
        left, top, right, bottom = box
        within = slice(top, bottom), slice(left, right)
        return replace(self, values=self.values[within], alpha=None if self.alpha is None else self.alpha[within])


@dataclass(frozen=True)
class Stored:
    """Values as a decoder gives them, (H, W, C), upright."""

    values: Array
    bits: int = 16  # that whole numbers use
    alpha: Alpha = ""  # what the last channel is
    inverted: bool = False  # white is 0
    picture: bool = True  # gray or color, which may become the other; else channels are what they are
    channels_first: bool = False


def to_pixels(stored: Stored, reading: Reading) -> Pixels:
    """Stored values in the channels and the range that are wanted. Raises `Unfit` when they cannot be."""
    values, dtype = stored.values, stored.values.dtype.newbyteorder("=")
    plain = dtype == np.uint8 and reading.span is None and not stored.alpha and values.shape[2] == reading.channels
    if not plain:
        colors = values.shape[2] - bool(stored.alpha)
        seen, alpha = in_unit(values[..., :colors], stored.bits, reading.span), values[..., colors:]
        alpha = in_unit(alpha, stored.bits) if stored.alpha else alpha
        if stored.alpha == "premultiplied":
            seen = np.where(alpha > 0, seen / np.maximum(alpha, 1e-6), 0).clip(0, 1)
        values = np.concatenate([1 - seen if stored.inverted else seen, alpha], 2, dtype=np.float32)
    elif stored.inverted:
        values = 255 - values
    if plain or not stored.picture:
        return Pixels(values, dtype, reading.span, channels_first=stored.channels_first)
    values, aside = in_channels(values, bool(stored.alpha), reading)
    return Pixels(values, dtype, reading.span, aside)


def in_unit(values: Array, bits: int = 16, span: Span | None = None) -> Array:
    """Stored values to float32 in [0, 1]: by the span, those beyond clipped; whole numbers without one by their bits.

    Whole numbers of more than 16 bits are taken for 16. Raises `Unfit` for values that are no numbers, and, without
    a span, for those beyond the type's.
    """
    kind = values.dtype.kind
    if kind not in "buif":
        raise Unfit(f"has values of the type {values.dtype}, which are no image's")
    if span is not None:
        if kind == "f" and not np.isfinite(values).all():
            raise Unfit("has values that are no numbers")
        unit = (values.astype(np.float64) - span[0]) / (span[1] - span[0])
        return unit.clip(0, 1).astype(np.float32)
    bits = min(bits - (kind == "i" and bits <= 16), 16)  # a sign takes one
    largest = 1 if kind == "f" else 2**bits - 1
    if not (values.min() >= 0 and values.max() <= largest):  # NaN fails as well
        raise Unfit(f"has values that are not between 0 and {largest}; say which are with --range-a or --range-b")
    return values.astype(np.float32) if kind == "f" else (values / largest).astype(np.float32)


def in_channels(values: Array, has_alpha: bool, reading: Reading) -> tuple[Array, Array | None]:
    """Gray or color, (H, W, C) in [0, 1] with alpha or not, in 1 to 4 channels; 2 and 4 have alpha as their last.

    Without room for alpha, colors are laid on the background, and alpha is returned beside them. Raises `Unfit`.
    """
    channels, colors = reading.channels, values.shape[2] - has_alpha
    if channels not in MODES or colors not in (1, 3):
        if values.shape[2] == channels:
            return values, None
        raise Unfit(f"has {values.shape[2]} channels and not the {wanted(channels)}")
    alpha = values[..., -1:] if has_alpha else np.ones_like(values[..., :1])
    values = values[..., :colors]
    if channels in (1, 3) and has_alpha:
        ground = np.array(parse_color(reading.background), np.float32) / 255
        ground = ground if colors == 3 else (ground @ LUMA).reshape(1)
        values = values * alpha + ground * (1 - alpha)
    if channels <= 2 < colors:
        values = (values @ LUMA)[..., None]
    elif channels >= 3 > colors:
        values = np.repeat(values, 3, 2)
    if channels in (2, 4):
        return np.concatenate([values, alpha], 2), None
    return values, alpha[..., 0] if has_alpha else None


def stored_as(pixels: Pixels, dtype: np.dtype[Any]) -> Array:
    """The values as they are stored in this type: by the span if it is the image's own type, else by the type's."""
    span = pixels.span if dtype == pixels.dtype else None
    return _stored(pixels.values, dtype, span)


def stored_alpha(alpha: Array, dtype: np.dtype[Any]) -> Array:
    """(H, W) as stored; always by the type's range."""
    return _stored(alpha, dtype, None)


def _stored(values: Array, dtype: np.dtype[Any], span: Span | None) -> Array:
    if values.dtype == dtype == np.uint8 and span is None:
        return values
    unit = values / 255 if values.dtype == np.uint8 else values.astype(np.float64)
    low, high = span or (0, 1 if dtype.kind == "f" else largest(dtype))
    scaled = low + unit * (high - low)
    return (scaled if dtype.kind == "f" else np.round(scaled)).astype(dtype)


def with_alpha(pixels: Pixels) -> Array:
    """The array that is stored, in the image's own type: (H, W) or (H, W, C) with alpha put back, or (C, H, W)."""
    values = stored_as(pixels, pixels.dtype)
    if pixels.alpha is not None and values.shape[2] in (1, 3):
        values = np.concatenate([values, stored_alpha(pixels.alpha, pixels.dtype)[..., None]], 2)
    if pixels.channels_first:
        return np.moveaxis(values, 2, 0)
    return values[..., 0] if values.shape[2] == 1 else values


def to_picture(pixels: Pixels) -> Image.Image:
    """A picture of the image's own depth where Pillow has a mode for it, else of 8 bit.

    Raises `UsageError` for more than 4 channels.
    """
    values = with_alpha(pixels)
    if values.ndim == 3 and values.shape[2] not in MODES:
        raise UsageError(f"No picture has {values.shape[2]} channels; give an array to have one back.")
    if values.dtype not in (np.uint8, np.uint16, np.float32) or (values.ndim == 3 and values.dtype != np.uint8):
        values = with_alpha(replace(pixels, dtype=UINT8, span=None))
    return Image.fromarray(np.ascontiguousarray(values))


def largest(dtype: np.dtype[Any]) -> int:
    """What is white in whole numbers of this type."""
    return 1 if dtype == np.bool_ else min(int(np.iinfo(dtype).max), 65535)


def dtype_for(dtype: np.dtype[Any], span: Span | None) -> np.dtype[Any]:
    """The type for results of images of type `dtype`: the same, or the next that can hold the span.

    Whole numbers need `COARSEST` steps from black to white, or float32 is taken.
    """
    if span is None or dtype.kind == "f":
        return dtype if dtype != np.bool_ else UINT8
    for each in (dtype, np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.int16)):
        if each.kind in "ui" and np.iinfo(each).min <= span[0] and span[1] <= np.iinfo(each).max:
            return each if span[1] - span[0] >= COARSEST else np.dtype(np.float32)
    return np.dtype(np.float32)


def each_band(values: Array, change: Callable[[Image.Image], Image.Image]) -> Array:
    """Apply a change of pictures to values (H, W, C): to 8 bit colors at once as Pillow does, else band by band."""
    if values.dtype == np.uint8 and values.shape[2] == 3:
        return np.asarray(change(Image.fromarray(values)))
    bands = [change(Image.fromarray(np.ascontiguousarray(values[..., i]))) for i in range(values.shape[2])]
    changed = np.stack([np.asarray(band) for band in bands], 2)
    return changed if values.dtype == np.uint8 else changed.clip(0, 1)  # bicubic goes beyond


def resized(values: Array, size: tuple[int, int]) -> Array:
    """Values (H, W, C) in another width and height, by Pillow's bicubic filter."""
    if values.shape[1::-1] == size:
        return values
    return each_band(values, lambda band: band.resize(size, Image.Resampling.BICUBIC))


def fitted(values: Array, side: int) -> Array:
    """Values (H, W, C) scaled to a square, and cut at the center."""
    return each_band(values, lambda band: ImageOps.fit(band, (side, side), Image.Resampling.BICUBIC))


def shown(pixels: Pixels | Array) -> Image.Image:
    """An 8 bit picture to look at: the first three channels, or the first alone if there are one or two."""
    values = pixels.values if isinstance(pixels, Pixels) else pixels
    values = _stored(values[..., :3] if values.shape[2] >= 3 else values[..., :1], UINT8, None)
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else np.ascontiguousarray(values))


def to_tensor(image: Image.Image | Array) -> Tensor:
    """A picture or values, (H, W) or (H, W, C), of 8 bit or of floats in [0, 1], to float32 (C, H, W) in [-1, 1]."""
    values = np.asarray(image)
    planes = torch.from_numpy(np.array(np.moveaxis(np.atleast_3d(values), 2, 0), order="C"))
    if planes.dtype == torch.uint8:
        return planes.float().div_(127.5).sub_(1)
    return planes.float().mul_(2).sub_(1)


def to_values(tensor: Tensor, dtype: np.dtype[Any] = UINT8, span: Span | None = None) -> Array:
    """(C, H, W) in [-1, 1], clamped, to values (H, W, C) of an image that is stored so; 8 bit ones are rounded."""
    unit = tensor.detach().float().clamp(-1, 1).add(1)
    if dtype == np.uint8 and span is None:
        return unit.mul(127.5).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return unit.div(2).permute(1, 2, 0).cpu().numpy()


def to_image(tensor: Tensor) -> Image.Image:
    """(C, H, W) in [-1, 1], clamped and rounded, to an 8 bit picture; of more than three channels the first three."""
    return shown(to_values(tensor))
