"""Quality against truth: PSNR and SSIM of translated images whose true counterpart is known. No weights needed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from cyclegan.config import Direction
from cyclegan.data.images import Source, UnreadableImage, read_pixels
from cyclegan.data.pixels import Array, Pixels, Reading, in_channels, to_tensor
from cyclegan.errors import CycleGANError
from cyclegan.translation.translator import Translator

PEAK_TO_PEAK = 2.0  # of images in [-1, 1]
WINDOW, SIGMA = 11, 1.5  # pixels; Wang et al. 2004, section III-C, as are K1 and K2
K1, K2 = 0.01, 0.03
RESAMPLES = 2000


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


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of two images (C, H, W) in [-1, 1]; infinite when they are equal.

    Raises `ValueError` when their shapes differ.
    """
    a, b = _comparable(a, b)
    error = (a - b).square().mean().item()
    return float(10 * np.log10(PEAK_TO_PEAK**2 / error)) if error else float("inf")


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of two images (C, H, W) in [-1, 1], averaged over channels; at most 1.

    Gaussian window of 11x11 with sigma 1.5, at the places where it lies within the image. A side shorter than 11 is
    first continued by reflection (edge pixel repeated) to 11. Raises `ValueError` when the shapes differ.
    """
    a, b = (_at_least_a_window(image) for image in _comparable(a, b))
    c1, c2 = (K1 * PEAK_TO_PEAK) ** 2, (K2 * PEAK_TO_PEAK) ** 2
    mean_a, mean_b, square_a, square_b, product = _blur(torch.stack([a, b, a * a, b * b, a * b]))
    variance_a, variance_b, covariance = square_a - mean_a**2, square_b - mean_b**2, product - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return float((luminance * structure).mean().item())


def _comparable(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.shape != b.shape or a.ndim != 3:
        raise ValueError(f"two images (C, H, W) of one shape are needed, not {tuple(a.shape)} and {tuple(b.shape)}")
    return a.double().cpu(), b.double().cpu()  # variances are small differences of large numbers


def _at_least_a_window(image: Tensor) -> Tensor:
    for axis in (1, 2):
        side = image.shape[axis]
        if side < WINDOW:
            start = (WINDOW - side) // 2
            folded = np.pad(np.arange(side), (start, WINDOW - side - start), mode="symmetric")
            image = image.index_select(axis, torch.from_numpy(folded))
    return image


def _blur(maps: Tensor) -> Tensor:
    """(N, C, H, W) to (N, C, H - 10, W - 10): the gaussian window's weighted means."""
    offset = torch.arange(WINDOW, dtype=maps.dtype) - WINDOW // 2
    weights = torch.exp(-(offset**2) / (2 * SIGMA**2))
    weights = weights / weights.sum()
    flat = maps.reshape(-1, 1, *maps.shape[2:])
    flat = conv2d(conv2d(flat, weights[None, None, :, None]), weights[None, None, None, :])
    return flat.reshape(*maps.shape[:2], *flat.shape[2:])


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
            image, truth = read_pixels(source, translator.reading), read_pixels(target, translator.writing)
        except UnreadableImage:
            continue
        before, after = before_and_after(translator, image, size)
        made, true = to_tensor(after.values), to_tensor(truth.resized(after.size).values)
        untranslated = to_tensor(_alike(before.values, translator.out_channels))
        yield Score(
            source, target, psnr(made, true), ssim(made, true), psnr(untranslated, true), ssim(untranslated, true)
        )


def _alike(values: Array, channels: int) -> Array:
    """Values in another number of channels, for want of a translation: grey as colour, or the mean in every one."""
    if values.shape[2] == channels:
        return values
    unit = values / np.float32(255) if values.dtype == np.uint8 else values
    if {values.shape[2], channels} == {1, 3}:
        return in_channels(unit, False, Reading(channels))[0]
    return np.repeat(unit.mean(2, keepdims=True), channels, 2)


def before_and_after(translator: Translator, image: Pixels, size: int | None) -> tuple[Pixels, Pixels]:
    """What the generator sees of an image, and its translation, both with a shorter side of at most `size` pixels."""
    after = translator.translate(image, size if size is not None and min(image.size) > size else "keep")
    return translator.seen(image.resized(after.size)), after


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """The 95 % interval of the mean over resamples of the images; None for fewer than two or infinite values."""
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.quantile(np.asarray(values)[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
