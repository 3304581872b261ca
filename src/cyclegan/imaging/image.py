"""Images in memory: (H, W, C) of uint8, or of float32 in [0, 1] for files with more than 8 bits per channel.

float32 represents 16 bits exactly. The stored type travels with the values, so that results are written in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from cyclegan.errors import UsageError
from cyclegan.imaging.source import UnsupportedImage, expected_channels
from cyclegan.imaging.value_range import ValueRange, parse_color

if TYPE_CHECKING:
    from torch import Tensor

Array = np.ndarray[Any, Any]
Alpha = Literal["", "straight", "premultiplied"]

MIN_STEPS = 16  # integer types need this many steps between black and white
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow converts color to gray
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
UINT8 = np.dtype(np.uint8)


class DecodeSpec(NamedTuple):
    """How the images of a domain are decoded: everything their pixels depend on except the file."""

    channels: int = 3
    value_range: ValueRange | None = None  # stored values of black and white; None for the full range of the type
    background: str = "white"  # behind transparent pixels
    labels: bool = False  # a label map, whose numbers are kept; see `decode.read_labels`


COLOR = DecodeSpec()


@dataclass(frozen=True)
class Pixels:
    """An image with any number of channels, and how it is stored."""

    values: Array  # (H, W, C), uint8, or float32 in [0, 1]
    dtype: np.dtype[Any] = UINT8  # of the stored values
    value_range: ValueRange | None = None  # as in `DecodeSpec`
    alpha: Array | None = None  # (H, W) like `values`, which are already composited on the background
    channels_first: bool = False  # in a stored array with three axes

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.values.shape[1], self.values.shape[0]

    def resize(self, size: tuple[int, int]) -> Pixels:
        """The image resized to (width, height)."""
        alpha = None if self.alpha is None else resize(self.alpha[..., None], size)[..., 0]
        return replace(self, values=resize(self.values, size), alpha=alpha)

    def crop(self, box: tuple[int, int, int, int]) -> Pixels:
        """The box (left, top, right, bottom), as a view."""
        left, top, right, bottom = box
        within = slice(top, bottom), slice(left, right)
        return replace(self, values=self.values[within], alpha=None if self.alpha is None else self.alpha[within])


def paste(after: Pixels, before: Pixels, mask: Pixels, keep: Literal["outside", "inside"]) -> Pixels:
    """`after`, with the pixels of `before` where the mask keeps them: outside of its white area, or inside.

    All are resized to `after`. Raises `UsageError` if their channels differ.
    """
    if after.values.shape[2] != before.values.shape[2]:
        raise UsageError("A part of the input can be kept only if input and result have the same number of channels.")
    white, kept, new = (
        each.values / np.float32(255) if each.values.dtype == np.uint8 else each.values
        for each in (mask.resize(after.size), before.resize(after.size), after)
    )
    weight = white if keep == "inside" else 1 - white
    values = weight * kept + (1 - weight) * new
    is_byte = after.values.dtype == np.uint8
    return replace(after, values=np.round(values * 255).astype(np.uint8) if is_byte else values.astype(np.float32))


@dataclass(frozen=True)
class Stored:
    """Values as a decoder returns them, (H, W, C), upright."""

    values: Array
    bits: int = 16  # used by integer values
    alpha: Alpha = ""  # kind of the last channel, "" if it is not alpha
    inverted: bool = False  # white is 0
    is_image: bool = True  # gray or color, which can be converted to each other; otherwise channels are fixed
    channels_first: bool = False


def to_pixels(stored: Stored, spec: DecodeSpec) -> Pixels:
    """Convert stored values to the channels and range of `spec`. Raises `UnsupportedImage` if they do not fit."""
    values, dtype = stored.values, stored.values.dtype.newbyteorder("=")
    is_direct = dtype == np.uint8 and spec.value_range is None and not stored.alpha
    is_direct = is_direct and values.shape[2] == spec.channels
    if not is_direct:
        colors = values.shape[2] - bool(stored.alpha)
        color, alpha = to_unit_range(values[..., :colors], stored.bits, spec.value_range), values[..., colors:]
        alpha = to_unit_range(alpha, stored.bits) if stored.alpha else alpha
        if stored.alpha == "premultiplied":
            color = np.where(alpha > 0, color / np.maximum(alpha, 1e-6), 0).clip(0, 1)
        values = np.concatenate([1 - color if stored.inverted else color, alpha], 2, dtype=np.float32)
    elif stored.inverted:
        values = 255 - values
    if is_direct or not stored.is_image:
        return Pixels(values, dtype, spec.value_range, channels_first=stored.channels_first)
    values, separate_alpha = convert_channels(values, bool(stored.alpha), spec)
    return Pixels(values, dtype, spec.value_range, separate_alpha)


def to_unit_range(values: Array, bits: int = 16, value_range: ValueRange | None = None) -> Array:
    """Scale stored values to float32 in [0, 1], by `value_range` (clipping), otherwise by the number of bits.

    Integers of more than 16 bits count as 16. Raises `UnsupportedImage` for values that are not numbers, and, without
    a value range, for values outside the range of the type.
    """
    kind = values.dtype.kind
    if kind not in "buif":
        raise UnsupportedImage(f"has values of type {values.dtype}, which is not supported for images")
    if value_range is not None:
        if kind == "f" and not np.isfinite(values).all():
            raise UnsupportedImage("has infinite or NaN values")
        unit = (values.astype(np.float64) - value_range[0]) / (value_range[1] - value_range[0])
        return unit.clip(0, 1).astype(np.float32)
    bits = min(bits - (kind == "i" and bits <= 16), 16)  # one bit is the sign
    white = 1 if kind == "f" else 2**bits - 1
    if not (values.min() >= 0 and values.max() <= white):  # False for NaN, too
        raise UnsupportedImage(f"has values outside 0 to {white}; set their range with --range-a or --range-b")
    return values.astype(np.float32) if kind == "f" else (values / white).astype(np.float32)


def convert_channels(values: Array, has_alpha: bool, spec: DecodeSpec) -> tuple[Array, Array | None]:
    """Convert gray or color, (H, W, C) in [0, 1], to 1 to 4 channels; with 2 and 4, the last one is alpha.

    With 1 and 3, transparent colors are composited on the background, and alpha is returned separately.
    Raises `UnsupportedImage`.
    """
    channels, colors = spec.channels, values.shape[2] - has_alpha
    if channels not in MODES or colors not in (1, 3):
        if values.shape[2] == channels:
            return values, None
        raise UnsupportedImage(f"has {values.shape[2]} channels, not the {expected_channels(channels)}")
    alpha = values[..., -1:] if has_alpha else np.ones_like(values[..., :1])
    values = values[..., :colors]
    if channels in (1, 3) and has_alpha:
        ground = np.array(parse_color(spec.background), np.float32) / 255
        ground = ground if colors == 3 else (ground @ LUMA).reshape(1)
        values = values * alpha + ground * (1 - alpha)
    if channels <= 2 < colors:
        values = (values @ LUMA)[..., None]
    elif channels >= 3 > colors:
        values = np.repeat(values, 3, 2)
    if channels in (2, 4):
        return np.concatenate([values, alpha], 2), None
    return values, alpha[..., 0] if has_alpha else None


def to_stored_values(pixels: Pixels, dtype: np.dtype[Any], with_alpha: bool = False) -> Array:
    """The values scaled to `dtype`: to the image's value range if `dtype` is its own, else to the type's range.

    With `with_alpha`, a separate alpha channel, scaled to the type's range, becomes the last channel.
    """
    values = _from_unit_range(pixels.values, dtype, pixels.value_range if dtype == pixels.dtype else None)
    if not with_alpha or pixels.alpha is None:
        return values
    return np.concatenate([values, _from_unit_range(pixels.alpha, dtype)[..., None]], 2)


def _from_unit_range(values: Array, dtype: np.dtype[Any], value_range: ValueRange | None = None) -> Array:
    if values.dtype == dtype == np.uint8 and value_range is None:
        return values
    unit = values / 255 if values.dtype == np.uint8 else values.astype(np.float64)
    white = 1 if dtype.kind in "fb" else min(int(np.iinfo(dtype).max), 65535)
    low, high = value_range or (0, white)
    scaled = low + unit * (high - low)
    return (scaled if dtype.kind == "f" else np.round(scaled)).astype(dtype)


def to_array(pixels: Pixels) -> Array:
    """The array in the image's own type: (H, W) or (H, W, C), with alpha as last channel, or (C, H, W)."""
    values = to_stored_values(pixels, pixels.dtype, with_alpha=pixels.values.shape[2] in (1, 3))
    if pixels.channels_first:
        return np.moveaxis(values, 2, 0)
    return values[..., 0] if values.shape[2] == 1 else values


def to_pil_image(pixels: Pixels) -> Image.Image:
    """A Pillow image of the same depth where Pillow has a mode for it, otherwise of 8 bits.

    Raises `UsageError` for more than 4 channels.
    """
    values = to_array(pixels)
    if values.ndim == 3 and values.shape[2] not in MODES:
        raise UsageError(f"A Pillow image cannot have {values.shape[2]} channels; pass a NumPy array instead.")
    if values.dtype not in (np.uint8, np.uint16, np.float32) or (values.ndim == 3 and values.dtype != np.uint8):
        values = to_array(replace(pixels, dtype=UINT8, value_range=None))
    return Image.fromarray(np.ascontiguousarray(values))


def output_dtype(dtype: np.dtype[Any], value_range: ValueRange | None) -> np.dtype[Any]:
    """The type for translations of images of type `dtype`: the same, or one that can hold the value range.

    Integer types need `MIN_STEPS` steps from black to white; otherwise float32 is used.
    """
    if value_range is None or dtype.kind == "f":
        return dtype if dtype != np.bool_ else UINT8
    low, high = value_range
    for each in (dtype, np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.int16)):
        if each.kind in "ui" and np.iinfo(each).min <= low and high <= np.iinfo(each).max:
            return each if high - low >= MIN_STEPS else np.dtype(np.float32)
    return np.dtype(np.float32)


def _map_bands(values: Array, change: Callable[[Image.Image], Image.Image]) -> Array:
    """Apply a Pillow operation to values (H, W, C): to 8 bit colors at once, otherwise channel by channel."""
    if values.dtype == np.uint8 and values.shape[2] == 3:
        return np.asarray(change(Image.fromarray(values)))
    bands = [change(Image.fromarray(np.ascontiguousarray(values[..., i]))) for i in range(values.shape[2])]
    changed = np.stack([np.asarray(band) for band in bands], 2)
    return changed if values.dtype == np.uint8 else changed.clip(0, 1)  # bicubic overshoots


def resize(values: Array, size: tuple[int, int], *, labels: bool = False) -> Array:
    """Values (H, W, C) resized to (width, height) by Pillow's bicubic filter; `labels` by the nearest pixel."""
    if values.shape[1::-1] == size:
        return values
    resampling = Image.Resampling.NEAREST if labels else Image.Resampling.BICUBIC
    return _map_bands(values, lambda band: band.resize(size, resampling))


def resize_and_center_crop(values: Array, side: int) -> Array:
    """Values (H, W, C) scaled and center-cropped to a square."""
    return _map_bands(values, lambda band: ImageOps.fit(band, (side, side), Image.Resampling.BICUBIC))


def to_uint8_image(pixels: Pixels | Array) -> Image.Image:
    """An 8 bit image for display: the first three channels, or the first of one or two."""
    values = pixels.values if isinstance(pixels, Pixels) else pixels
    values = _from_unit_range(values[..., :3] if values.shape[2] >= 3 else values[..., :1], UINT8)
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else np.ascontiguousarray(values))


def to_tensor(image: Image.Image | Array) -> Tensor:
    """Convert (H, W) or (H, W, C), uint8 or float in [0, 1], to float32 (C, H, W) in [-1, 1]."""
    import torch  # only here: finding images must not wait for it

    values = np.asarray(image)
    planes = torch.from_numpy(np.array(np.moveaxis(np.atleast_3d(values), 2, 0), order="C"))
    return (planes.float().div_(127.5) if planes.dtype == torch.uint8 else planes.float().mul_(2)).sub_(1)


def to_values(tensor: Tensor, dtype: np.dtype[Any] = UINT8, value_range: ValueRange | None = None) -> Array:
    """Convert (C, H, W) in [-1, 1], clamped, to (H, W, C): rounded uint8 if images are stored so, else float32."""
    unit = tensor.detach().float().clamp(-1, 1).add(1)
    if dtype == np.uint8 and value_range is None:
        return unit.mul(127.5).round().byte().permute(1, 2, 0).cpu().numpy()
    return unit.div(2).permute(1, 2, 0).cpu().numpy()


def to_image(tensor: Tensor) -> Image.Image:
    """Convert (C, H, W) in [-1, 1], clamped, to an 8 bit image; of more than three channels, the first three."""
    return to_uint8_image(to_values(tensor))
