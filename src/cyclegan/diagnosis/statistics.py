"""Statistics of batches of images (N, C, H, W) in [-1, 1], from which the checks decide."""

from itertools import permutations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

from cyclegan.metrics.content import LEVELS, edges, luminance

COARSE = 16  # cells per side for comparing an input with its translation
LAYOUT = 8  # cells per side for comparing the layouts of domains
VALUES = 5_000  # per channel and set, for comparing distributions
PERIOD = 4  # pixels; generators upsample twice by two
MAX_CHANNELS = 4  # for finding their order


def gap(images: Tensor, others: Tensor) -> float:
    """Distance of two sets of images in color and detail, in units of the range [-1, 1]; 0 for equal sets.

    Sum of the one-dimensional Wasserstein distances of the values of each channel and of two frequency bands. Sets with
    different channels are compared by luminance.
    """
    if images.shape[1] != others.shape[1]:
        images, others = luminance(images), luminance(others)
    return sum(float((a - b).abs().mean()) for a, b in zip(_quantiles(images), _quantiles(others), strict=True))


def _quantiles(images: Tensor) -> list[Tensor]:
    """257 quantiles of the values of each channel and of two frequency bands."""
    gray = luminance(images)
    fine, coarse = _blur(gray, 2), _blur(gray, 4)
    flat = (each.flatten() for each in (*images.unbind(1), gray - fine, fine - coarse))
    subsampled = (each[:: len(each) // VALUES | 1] for each in flat)  # an odd stride skips no image column
    return [torch.quantile(each, torch.linspace(0, 1, 257)) for each in subsampled]


def _blur(images: Tensor, factor: int) -> Tensor:
    return interpolate(avg_pool2d(images, factor, ceil_mode=True), images.shape[-2:], mode="bilinear")


def variety(images: Tensor) -> float:
    """Standard deviation over the images of a set, averaged over coarse cells."""
    return float(adaptive_avg_pool2d(images, COARSE).std(0).mean())


def agreement(inputs: Tensor, fakes: Tensor) -> float:
    """Median correlation of coarse luminance between input and translation: 1 for equal layouts, -1 for negatives."""
    a, b = (adaptive_avg_pool2d(luminance(each), COARSE).flatten(1) for each in (inputs, fakes))
    return float(_correlation(a, b).median())


def color_agreement(inputs: Tensor, fakes: Tensor) -> Tensor:
    """Median correlation (C, C) of each input channel with each channel of the translation, both minus their gray."""
    coarse = (adaptive_avg_pool2d(each, COARSE) for each in (inputs, fakes))
    a, b = ((each - each.mean(1, keepdim=True)).flatten(2).unbind(1) for each in coarse)
    return torch.stack([torch.stack([_correlation(x, y).median() for y in b]) for x in a])


def channel_order(agreements: Tensor) -> tuple[tuple[int, ...], float]:
    """The order of the translation's channels that best follows the input's, and its gain over the original order.

    `agreements` are those of `color_agreement`; the gain is a mean over the channels.
    """
    channels = range(len(agreements))
    means = {order: float(agreements[channels, order].mean()) for order in permutations(channels)}
    best = max(means, key=means.__getitem__)
    return best, means[best] - means[tuple(channels)]


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = (each - each.mean(-1, keepdim=True) for each in (a, b))
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp_min(1e-6)


def saturation(images: Tensor) -> float:
    """Fraction of values within one 8-bit level of black or white."""
    return float((images.abs() > 1 - 1 / LEVELS).float().mean())


def checkerboard(images: Tensor) -> float:
    """Strength of the pattern that repeats every 2 or 4 pixels [Odena et al. 2016], in 8-bit levels; 0 without one.

    The deviation of the mean over all 4x4 cells of an image, minus the deviation expected by chance.
    """
    gray = luminance(images)
    height, width = (side // PERIOD * PERIOD for side in gray.shape[-2:])
    detail = (gray - _blur(gray, 2 * PERIOD))[..., :height, :width]
    rows, columns = height // PERIOD, width // PERIOD
    cells = detail.reshape(-1, rows, PERIOD, columns, PERIOD).transpose(2, 3).flatten(1, 2)  # N, cells, 4, 4
    kept = cells.mean(1).var((-2, -1), correction=0)  # of the mean cell
    chance = cells.var(1).mean((-2, -1)) / cells.shape[1]
    return LEVELS * float((kept - chance).mean().clamp_min(0).sqrt())


def layout_agreement(domain: Tensor, other: Tensor) -> float | None:
    """Similarity of the positions of light areas and edges in two sets of images: near 1 if equal, 0 or less if not.

    Mean of the correlations of their mean edges and mean luminances; None if neither set has a consistent layout.
    """
    maps = [
        [adaptive_avg_pool2d(f(images), LAYOUT).flatten(1) for images in (domain, other)] for f in (edges, luminance)
    ]
    reliable = [max(_correlate_means(each[::2], each[1::2]) for each in pair) for pair in maps]
    if sum(reliable) / 2 < 0.7:
        return None
    return sum(_correlate_means(a, b) for a, b in maps) / 2


def _correlate_means(a: Tensor, b: Tensor) -> float:
    return float(_correlation(a.mean(0), b.mean(0)))
