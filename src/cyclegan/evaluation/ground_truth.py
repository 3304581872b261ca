"""Quality of translated image files against their ground truth, at their own aspect ratio."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from cyclegan.errors import CycleGANError
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.image import Array, DecodeSpec, Pixels, convert_channels, to_tensor
from cyclegan.imaging.source import Source, UnreadableImage
from cyclegan.metrics.intervals import MetricValue
from cyclegan.metrics.similarity import compare_with_ground_truth
from cyclegan.translation.translator import Translator

Pair = tuple[Source, Source]  # an input and its ground truth


def measure_pairs(
    translator: Translator, pairs: Sequence[Pair], size: int | None = None
) -> tuple[dict[str, MetricValue], list[Pair]]:
    """PSNR and SSIM of the translated inputs against ground truth, and the pairs that could be read.

    With `size`, inputs with a longer shorter side are scaled down to it; ground truth is resized to the translation.
    Raises `CycleGANError` when no pair can be read.
    """
    readable: list[Pair] = []

    def images() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for pair in pairs:
            try:
                image, truth = read_pixels(pair[0], translator.input_spec), read_pixels(pair[1], translator.output_spec)
            except UnreadableImage:
                continue
            before, after = before_and_after(translator, image, size)
            readable.append(pair)
            untranslated = _match_channels(before.values, translator.out_channels)
            yield tuple(map(to_tensor, (after.values, untranslated, truth.resize(after.size).values)))  # type: ignore[misc]

    metrics = compare_with_ground_truth(images())
    if not readable:
        raise CycleGANError(f"None of the {len(pairs)} test pairs can be read.")
    return metrics, readable


def _match_channels(values: Array, channels: int) -> Array:
    """Values (H, W, C) with another number of channels: gray to color and back, otherwise the mean in every channel."""
    if values.shape[2] == channels:
        return values
    unit = values / np.float32(255) if values.dtype == np.uint8 else values
    if {values.shape[2], channels} == {1, 3}:
        return convert_channels(unit, False, DecodeSpec(channels))[0]
    return np.repeat(unit.mean(2, keepdims=True), channels, 2)


def before_and_after(translator: Translator, image: Pixels, size: int | None) -> tuple[Pixels, Pixels]:
    """The generator's input and its translation, both with a shorter side of at most `size` pixels."""
    after = translator.translate(image, size if size is not None and min(image.size) > size else "keep")
    return translator.visible_input(image.resize(after.size)), after
