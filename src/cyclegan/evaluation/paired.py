"""Quality against the truth, where it is known: PSNR and SSIM, with the untranslated input beside as the baseline."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d

from cyclegan.data.images import UnreadableImage, read_image, to_tensor
from cyclegan.translation.translator import Translator, scaled

RANGE = 2.0  # of the values of an image in [-1, 1]
RESAMPLES = 2000  # of the bootstrap


def psnr(image: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of (C, H, W) in [-1, 1]; infinite for equal images."""
    error = (image.double() - truth.double()).square().mean().item()
    return math.inf if error == 0 else 10 * math.log10(RANGE**2 / error)


def ssim(image: Tensor, truth: Tensor) -> float:
    """Structural similarity of (C, H, W) in [-1, 1], the mean over channels (Wang et al. 2004).

    Gaussian window of 11 pixels and standard deviation 1.5, at places where it fits whole; smaller images take the
    largest odd window that fits.
    """
    x, y = image.double()[:, None], truth.double()[:, None]
    side = min(11, *(s - 1 + s % 2 for s in image.shape[-2:]))
    at = torch.arange(side, dtype=torch.float64) - side // 2
    bell = torch.exp(-(at**2) / (2 * 1.5**2))
    window = torch.outer(bell, bell)[None, None] / bell.sum() ** 2

    def mean(values: Tensor) -> Tensor:
        return conv2d(values, window)

    mean_x, mean_y = mean(x), mean(y)
    var_x, var_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * covariance + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )
    return similarity.mean().item()


@dataclass(frozen=True)
class Pair:
    """One test image: its translation against the truth, and its untranslated self against the truth."""

    source: Path
    truth: Path
    psnr: float
    ssim: float
    untranslated_psnr: float
    untranslated_ssim: float


@dataclass(frozen=True)
class AgainstTruth:
    """One direction, measured on `pairs`."""

    direction: Literal["AtoB", "BtoA"]
    pairs: tuple[Pair, ...]

    def mean(self, figure: Literal["psnr", "ssim", "untranslated_psnr", "untranslated_ssim"]) -> float:
        """The mean of a figure over the pairs."""
        return float(np.mean([getattr(pair, figure) for pair in self.pairs]))

    def interval(self, figure: Literal["psnr", "ssim"]) -> tuple[float, float]:
        """95 % of the means of resampled pairs lie within (bootstrap with a fixed seed)."""
        values = np.array([getattr(pair, figure) for pair in self.pairs])
        picks = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
        low, high = np.quantile(values[picks].mean(axis=1), (0.025, 0.975))
        return float(low), float(high)


def against_truth(
    translator: Translator,
    direction: Literal["AtoB", "BtoA"],
    pairs: Sequence[tuple[Path, Path]],
    size: int | Literal["keep"] = "keep",
) -> AgainstTruth:
    """Translate the first of each pair and compare it with the second, both scaled to `size` first.

    A truth of other proportions is brought to its image's size; pairs that cannot be read are passed over.
    """
    measured = []
    for source, truth in pairs:
        try:
            before = scaled(read_image(source, translator.in_channels), size)
            wanted = read_image(truth, translator.out_channels)
        except UnreadableImage:
            continue
        if wanted.size != before.size:
            wanted = wanted.resize(before.size, Image.Resampling.BICUBIC)
        after, target = to_tensor(translator.translate(before)), to_tensor(wanted)
        untranslated = to_tensor(before.convert(wanted.mode))
        figures = (psnr(after, target), ssim(after, target), psnr(untranslated, target), ssim(untranslated, target))
        measured.append(Pair(source, truth, *figures))
    return AgainstTruth(direction, tuple(measured))
