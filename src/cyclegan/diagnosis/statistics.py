"""Symptoms: numbers measured on batches of images (N, C, H, W) in [-1, 1]. Each is a plain function on tensors."""

from collections.abc import Callable
from itertools import permutations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

from cyclegan.metrics.content import LEVELS, edges, luminance

COARSE = 16  # cells of a side, in which layout and color are compared
PLACES = 8  # cells of a side, in which domains are compared
VALUES = 5_000  # of each channel and set, whose distribution is compared
PERIOD = 4  # pixels; generators enlarge twice by two
MOST_CHANNELS = 4  # whose order may be asked for


def gap(images: Tensor, others: Tensor) -> float:
    """How far two sets of images are apart in color and detail, in units of the range [-1, 1]; 0 for equal sets.

    The one-dimensional Wasserstein distance of the values of each channel and of two bands of detail, summed. Sets with
    unlike channels are compared by their luminance.
    """
    if images.shape[1] != others.shape[1]:
        images, others = luminance(images), luminance(others)
    return sum(_wasserstein(a, b) for a, b in zip(_values(images), _values(others), strict=True))


def _values(images: Tensor) -> list[Tensor]:
    gray = luminance(images)
    fine, coarse = _blurred(gray, 2), _blurred(gray, 4)
    return [*images.unbind(1), gray - fine, fine - coarse]


def _blurred(images: Tensor, factor: int) -> Tensor:
    return interpolate(avg_pool2d(images, factor, ceil_mode=True), images.shape[-2:], mode="bilinear")


def _wasserstein(a: Tensor, b: Tensor) -> float:
    levels = torch.linspace(0, 1, 257)
    return float((torch.quantile(_few(a), levels) - torch.quantile(_few(b), levels)).abs().mean())


def _few(values: Tensor) -> Tensor:
    flat = values.flatten()
    return flat[:: len(flat) // VALUES | 1]  # odd, so that no columns of the image are left out


def variety(images: Tensor) -> float:
    """How much the images of a set differ from each other: deviation over the set, mean over coarse cells."""
    return float(adaptive_avg_pool2d(images, COARSE).std(0).mean())


def agreement(inputs: Tensor, fakes: Tensor) -> float:
    """Median correlation of input and translation in coarse luminance: 1 for equal layouts, -1 for negatives."""
    a, b = (adaptive_avg_pool2d(luminance(each), COARSE).flatten(1) for each in (inputs, fakes))
    return float(_correlation(a, b).median())


def color_agreement(inputs: Tensor, fakes: Tensor) -> Tensor:
    """(C, C): median correlation of each channel of the input, less its gray, with each one of the translation."""
    a, b = (_chroma(each) for each in (inputs, fakes))
    rows = [torch.stack([_correlation(x, y).median() for y in b.unbind(1)]) for x in a.unbind(1)]
    return torch.stack(rows)


def _chroma(images: Tensor) -> Tensor:
    coarse = adaptive_avg_pool2d(images, COARSE)
    return (coarse - coarse.mean(1, keepdim=True)).flatten(2)


def channel_order(agreements: Tensor) -> tuple[tuple[int, ...], float]:
    """Which channel of the translation follows each channel of the input best, and how much better than its own does.

    `agreements` are those of `color_agreement`; the second figure is a mean over the channels, 0 in their own order.
    """
    channels = range(len(agreements))
    means: Callable[[tuple[int, ...]], float] = lambda order: float(agreements[channels, order].mean())  # noqa: E731
    best = max(permutations(channels), key=means)
    return best, means(best) - means(tuple(channels))


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    a, b = (each - each.mean(-1, keepdim=True) for each in (a, b))
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp_min(1e-6)


def saturation(images: Tensor) -> float:
    """Share of values within one level of black or white."""
    return float((images.abs() > 1 - 1 / LEVELS).float().mean())


def checkerboard(images: Tensor) -> float:
    """Strength of the pattern that repeats every 2 or 4 pixels, in levels of 255: 0 for images without one.

    What is left of a checkerboard after [Odena et al. 2016] when all cells of 4x4 pixels of an image are laid on top
    of each other, less what chance leaves there.
    """
    gray = luminance(images)
    height, width = (side // PERIOD * PERIOD for side in gray.shape[-2:])
    detail = (gray - _blurred(gray, 2 * PERIOD))[..., :height, :width]
    rows, columns = height // PERIOD, width // PERIOD
    cells = detail.reshape(-1, rows, PERIOD, columns, PERIOD).transpose(2, 3).flatten(1, 2)  # N, cells, 4, 4
    kept = cells.mean(1).var((-2, -1), correction=0)  # of the mean cell
    chance = cells.var(1).mean((-2, -1)) / cells.shape[1]
    return LEVELS * float((kept - chance).mean().clamp_min(0).sqrt())


def layout_agreement(domain: Tensor, other: Tensor) -> float | None:
    """Whether two sets of images have light and edges at the same places: near 1 when alike, 0 or less when not.

    The correlation of their mean edges and of their mean luminances, averaged; None where neither set has a layout.
    """
    maps = [
        [adaptive_avg_pool2d(of(images), PLACES).flatten(1) for images in (domain, other)] for of in (edges, luminance)
    ]
    reliable = [max(_between_means(each[::2], each[1::2]) for each in pair) for pair in maps]
    if sum(reliable) / 2 < 0.7:
        return None
    return sum(_between_means(a, b) for a, b in maps) / 2


def _between_means(a: Tensor, b: Tensor) -> float:
    return float(_correlation(a.mean(0), b.mean(0)))
