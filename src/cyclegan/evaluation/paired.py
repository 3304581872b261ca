"""Quality against truth: PSNR and SSIM of translated images whose true counterpart is known. No weights needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cyclegan.config.schema import Direction
from cyclegan.errors import CycleGANError
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.image import Array, DecodeSpec, Pixels, convert_channels, to_tensor
from cyclegan.imaging.source import Source, UnreadableImage
from cyclegan.metrics.intervals import bootstrap_interval
from cyclegan.metrics.similarity import psnr, ssim
from cyclegan.translation.translator import Translator


@dataclass(frozen=True)
class Score:
    """One image: its translation against the truth, and (baseline) its untranslated self against the truth."""

    source: Source
    truth: Source
    psnr: float  # dB
    ssim: float
    baseline_psnr: float
    baseline_ssim: float


@dataclass(frozen=True)
class Paired:
    """A direction's quality on test images whose truth is known: means over images, and each image's own figures."""

    direction: Direction
    scores: tuple[Score, ...]
    psnr: float  # dB
    ssim: float
    baseline_psnr: float
    baseline_ssim: float
    psnr_interval: tuple[float, float] | None  # 95 % bootstrap interval of the mean; None for a single image

    @property
    def images(self) -> int:
        """How many images the means are over."""
        return len(self.scores)


def against_truth(
    translator: Translator,
    pairs: Sequence[tuple[Source, Source]],
    size: int | None = None,
    direction: Direction = "AtoB",
) -> Paired:
    """Translate the first image of each pair, compare with the second, and average.

    With `size`, an image whose shorter side is longer is first scaled to it; the truth is brought to the result's
    size. `direction` only labels the result. Pairs with an unreadable image are left out. Raises `CycleGANError`
    when none is left.
    """
    scores = tuple(_scores(translator, pairs, size))
    if not scores:
        raise CycleGANError(f"None of the {len(pairs)} test pairs can be read.")
    psnrs = [s.psnr for s in scores]
    return Paired(
        direction=direction,
        scores=scores,
        psnr=float(np.mean(psnrs)),
        ssim=float(np.mean([s.ssim for s in scores])),
        baseline_psnr=float(np.mean([s.baseline_psnr for s in scores])),
        baseline_ssim=float(np.mean([s.baseline_ssim for s in scores])),
        psnr_interval=bootstrap_interval(psnrs),
    )


def _scores(translator: Translator, pairs: Sequence[tuple[Source, Source]], size: int | None) -> Iterator[Score]:
    for source, target in pairs:
        try:
            image, truth = read_pixels(source, translator.input_spec), read_pixels(target, translator.output_spec)
        except UnreadableImage:
            continue
        before, after = before_and_after(translator, image, size)
        made, true = to_tensor(after.values), to_tensor(truth.resize(after.size).values)
        untranslated = to_tensor(_alike(before.values, translator.out_channels))
        yield Score(
            source, target, psnr(made, true), ssim(made, true), psnr(untranslated, true), ssim(untranslated, true)
        )


def _alike(values: Array, channels: int) -> Array:
    """Values in another number of channels, for want of a translation: gray as color, or the mean in every one."""
    if values.shape[2] == channels:
        return values
    unit = values / np.float32(255) if values.dtype == np.uint8 else values
    if {values.shape[2], channels} == {1, 3}:
        return convert_channels(unit, False, DecodeSpec(channels))[0]
    return np.repeat(unit.mean(2, keepdims=True), channels, 2)


def before_and_after(translator: Translator, image: Pixels, size: int | None) -> tuple[Pixels, Pixels]:
    """What the generator sees of an image, and its translation, both with a shorter side of at most `size` pixels."""
    after = translator.translate(image, size if size is not None and min(image.size) > size else "keep")
    return translator.seen(image.resize(after.size)), after
