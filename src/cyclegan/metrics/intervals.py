"""How far a figure can be trusted: intervals over resamples of the images, and significance of differences."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

RESAMPLES = 2000
GROUPS = 10  # of images, that are left out in turn
TWO_SIDED = 1.96  # standard errors of a normal distribution's middle 95 %

Integers = np.ndarray[Any, np.dtype[np.int64]]


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float] | None:
    """The 95 % interval of the mean over resamples of the images; None for fewer than two or infinite values."""
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    low, high = np.quantile(_means(np.asarray(values), seed), [0.025, 0.975])
    return float(low), float(high)


def paired_difference(
    first: Sequence[float], second: Sequence[float], seed: int = 0
) -> tuple[float, tuple[float, float], float]:
    """Mean of `second` minus `first` on the same images, its 95 % interval, and the two-sided p-value of "no change".

    By the paired bootstrap (Efron and Tibshirani 1993, chapter 16): the images are drawn again and again with
    replacement, the same for both; p is twice the share of resamples in which the difference has the other sign, at
    least 1 / resamples. Raises `ValueError` unless both have the same length of two or more.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"two values or more for the same images are needed, not {len(first)} and {len(second)}")
    differences = np.asarray(second, float) - np.asarray(first, float)
    if not differences.any():
        return 0.0, (0.0, 0.0), 1.0
    means = _means(differences, seed)
    low, high = np.quantile(means, [0.025, 0.975])
    tail = min((means <= 0).mean(), (means >= 0).mean())
    return float(differences.mean()), (float(low), float(high)), float(min(1.0, max(2 * tail, 1 / RESAMPLES)))


def _means(values: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
    draws = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    means: np.ndarray[Any, Any] = values[draws].mean(axis=1)
    return means


def jackknife_interval(figure: Callable[[Integers], float], images: int, seed: int = 0) -> tuple[float, float] | None:
    """The 95 % interval of a figure that is no mean over images, such as a distance between two sets of them.

    `figure` computes it from some of the images, given by number. The images are dealt into ten groups, and each is
    left out in turn (Efron and Tibshirani 1993, chapter 11). The bootstrap would draw images twice, and distances
    take that for a difference. None for fewer images than twenty.
    """
    if images < 2 * GROUPS:
        return None
    group = np.random.default_rng(seed).permutation(images) % GROUPS
    without = np.array([figure(np.flatnonzero(group != g)) for g in range(GROUPS)])
    error = float(np.sqrt((GROUPS - 1) / GROUPS * ((without - without.mean()) ** 2).sum()))
    value = figure(np.arange(images))
    return value - TWO_SIDED * error, value + TWO_SIDED * error
