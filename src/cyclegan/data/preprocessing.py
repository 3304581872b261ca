"""From image files to pixels at training size, and the random crop and flip."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL

from cyclegan._version import __version__
from cyclegan.config.schema import DataConfig, Direction
from cyclegan.data.cache import Array
from cyclegan.data.layouts import SplitFiles
from cyclegan.errors import UsageError
from cyclegan.imaging.decode import HAS_DEEP_PNG, read_labels, read_pixels, read_stored
from cyclegan.imaging.image import DecodeSpec, resize
from cyclegan.imaging.source import Half, Source, UnreadableImage, path_of
from cyclegan.imaging.value_range import Range, fixed_range, parse_range

if TYPE_CHECKING:
    from torch import Tensor

MASK, LABELS = DecodeSpec(channels=1, background="black"), DecodeSpec(channels=1, labels=True)
COMPANIONS = {"mask": MASK, "label": LABELS}  # kinds of files next to the images, and how they are decoded
MAX_VALUES = 2**22  # sampled per domain for percentiles, equally from each image
MIN_VALUES = 1024  # sampled per image


def decode_specs(data: DataConfig, direction: Direction = "AtoB") -> tuple[DecodeSpec, DecodeSpec]:
    """How images of the source and target domains are decoded. Percentile ranges must be resolved before."""
    a = DecodeSpec(data.channels_a, fixed_range(data.range_a), data.background)
    b = DecodeSpec(data.channels_b, fixed_range(data.range_b), data.background)
    return (a, b) if direction == "AtoB" else (b, a)


def load_resized(source: Source, spec: DecodeSpec, config: DataConfig) -> Array:
    """Load an image as values (H, W, C) at training size: all deterministic preprocessing [R].

    Raises `UnreadableImage`.
    """
    if spec.labels:
        labels = read_labels(source)
        return resize(labels, training_size(labels.shape[1::-1], config), labels=True)
    draft = config.draft and config.preprocess == "resize_and_crop"
    pixels = read_pixels(source, spec, min_side=2 * config.load_size if draft else None)
    return resize(pixels.values, training_size(pixels.size, config))


def cache_key(source: Source, spec: DecodeSpec, config: DataConfig) -> str:
    """Everything `load_resized` depends on: the file's current state, settings, versions. Raises `OSError`."""
    side = source.side if isinstance(source, Half) else "whole"
    file = path_of(source).stat()
    settings = config.preprocess, config.load_size, config.crop_size, config.draft
    versions = __version__, PIL.__version__, HAS_DEEP_PNG
    path = os.path.abspath(path_of(source))  # noqa: PTH100  (resolve() would follow links)
    return repr((path, side, file.st_size, file.st_mtime_ns, *spec, *settings, *versions))


def training_size(size: tuple[int, int], config: DataConfig) -> tuple[int, int]:
    """(width, height) to which the configured policy resizes an image of this size, before the crop [R].

    The "scale_" policies keep the aspect ratio; policies without crop round the sides to multiples of 4.
    """
    policy, load, crop = config.preprocess, config.load_size, config.crop_size
    width, height = size
    if policy == "resize_and_crop":
        width, height = load, load
    elif policy.startswith("scale_width"):
        width, height = load, max(round(height * load / width), crop)
    elif policy.startswith("scale_shortside"):
        scale = load / min(width, height)
        width, height = round(width * scale), round(height * scale)
    elif policy == "crop":
        scale = max(1.0, crop / min(width, height))  # images smaller than the crop are enlarged to it
        width, height = round(width * scale), round(height * scale)
    if not policy.endswith("crop"):
        width, height = (max(4, round(side / 4) * 4) for side in (width, height))
    return width, height


def random_crop(values: Array, config: DataConfig, rng: random.Random, *, labels: bool = False) -> Array:
    """A random crop of resized values (H, W, C), scaled, flipped and rotated at random as configured.

    A view unless it is scaled. Images of one size are treated alike by equal generators.
    """
    if config.preprocess.endswith("crop"):
        height, width = values.shape[:2]
        side = config.crop_size
        if config.scale_jitter:
            scale = rng.uniform(1 - config.scale_jitter, 1 + config.scale_jitter)
            side = max(1, min(round(side / scale), height, width))
        left, top = rng.randint(0, width - side), rng.randint(0, height - side)
        crop = values[top : top + side, left : left + side]
        values = resize(crop, (config.crop_size, config.crop_size), labels=labels)
    values = values[:, ::-1] if config.flip and rng.random() < 0.5 else values
    values = values[::-1] if config.flip_vertical and rng.random() < 0.5 else values
    return np.rot90(values, rng.randrange(4)) if config.rotate else values


def jitter_color(image: Tensor, amount: float, rng: random.Random) -> Tensor:
    """An image (C, H, W) in [-1, 1] with contrast times 1 ± `amount` and brightness ± `amount` at random, clipped."""
    if not amount:
        return image
    contrast, brightness = rng.uniform(1 - amount, 1 + amount), rng.uniform(-amount, amount)
    mean = image.mean()
    return (mean + (image - mean) * contrast + brightness).clamp(-1, 1)


def resolve_percentile_ranges(data: DataConfig, train: SplitFiles) -> tuple[DataConfig, list[str]]:
    """Replace percentile ranges by the values found in the training images, with one message for each.

    Unreadable images are skipped. Raises `UsageError` when no range can be found.
    """
    notes = []
    for domain, files in (("A", train.a), ("B", train.b)):
        name = f"range_{domain.lower()}"
        text: str | None = getattr(data, name)
        if text is None or not (percentiles := parse_range(text)).percentiles:
            continue
        channels = data.channels_a if domain == "A" else data.channels_b
        low, high = _percentile_values(name, percentiles, files[: data.max_images], channels)
        changed: dict[str, Any] = {name: str(Range(low, high))}
        data = replace(data, **changed)
        notes.append(f"Range of {domain}: {low:g} to {high:g}, the percentiles {percentiles} of its training images.")
    return data, notes


def _percentile_values(name: str, percentiles: Range, files: Sequence[Source], channels: int) -> tuple[float, float]:
    samples = []
    for source in files:
        with suppress(UnreadableImage):
            values = read_stored(source, channels).reshape(-1)
            step = max(1, values.size // max(MIN_VALUES, MAX_VALUES // len(files)))
            samples.append(values[step // 2 :: step].astype(np.float32))
    finite = np.concatenate([*samples, np.empty(0, np.float32)])
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        folder = path_of(files[0]).parent
        raise UsageError(f"None of the {len(files)} images in {folder} can be read, so they have no value range.")
    low, high = np.percentile(finite, [percentiles.low, percentiles.high]).tolist()
    if not low < high:
        raise UsageError(
            f"--{name.replace('_', '-')} {str(percentiles)!r} of the images is {low:g} to {high:g}, an empty range; "
            "use other percentiles, or set the values."
        )
    return low, high
