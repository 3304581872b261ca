"""Metric values with 95 % intervals over the images, and the significance of differences."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 2000
GROUPS = 10  # of images for the jackknife
Z_95 = 1.96  # standard errors on either side of the mean that enclose 95 % of a normal distribution

Interval = tuple[float, float]
Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class MetricValue:
    """A metric's value, its uncertainty and reference values."""

    value: float
    images: int  # that it was measured on
    interval: Interval | None = None  # 95 %; None where it cannot be estimated
    untranslated: float | None = None  # the same metric of the untranslated inputs (baseline)
    real: float | None = None  # the same metric of real target images; for content metrics, of the ground truth
    per_image: tuple[float, ...] = ()  # in the order of the images; empty for metrics of whole sets


def mean_value(
    per_image: Sequence[float], untranslated: Sequence[float] | None = None, real: Sequence[float] | None = None
) -> MetricValue:
    """The mean of a per-image metric with its bootstrap interval, and the means of its reference values."""
    mean, interval = float(np.mean(per_image)), bootstrap_interval(per_image)
    baseline, reference = (None if values is None else float(np.mean(values)) for values in (untranslated, real))
    return MetricValue(mean, len(per_image), interval, baseline, reference, tuple(per_image))


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> Interval | None:
    """The 95 % bootstrap interval of the mean; None for fewer than two values or when one is infinite."""
    if len(values) < 2 or not np.isfinite(values).all():
        return None
    low, high = np.quantile(_resampled_means(np.asarray(values), seed), [0.025, 0.975])
    return float(low), float(high)


def paired_difference(first: Sequence[float], second: Sequence[float], seed: int = 0) -> tuple[float, Interval, float]:
    """Mean of `second` minus `first` on the same images, its 95 % interval, and the two-sided p-value for no change.

    By the paired bootstrap (Efron and Tibshirani 1993, chapter 16): p is twice the fraction of resamples in which the
    difference has the opposite sign, at least 1 / resamples. Raises `ValueError` unless both have the same length of
    two or more.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"two or more values of the same images required, got {len(first)} and {len(second)}")
    differences = np.asarray(second, float) - np.asarray(first, float)
    if not differences.any():
        return 0.0, (0.0, 0.0), 1.0
    means = _resampled_means(differences, seed)
    low, high = np.quantile(means, [0.025, 0.975])
    tail = min((means <= 0).mean(), (means >= 0).mean())
    return float(differences.mean()), (float(low), float(high)), float(min(1.0, max(2 * tail, 1 / RESAMPLES)))


def _resampled_means(values: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
    rows = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    means: np.ndarray[Any, Any] = values[rows].mean(axis=1)
    return means


def jackknife_interval(metric: Callable[[Indices], float], images: int, seed: int = 0) -> Interval | None:
    """The 95 % interval of a metric that is not a mean over images, such as a distance between two sets of them.

    `metric` computes it from the images with the given indices. The images are divided into ten groups, each of which
    is left out in turn (Efron and Tibshirani 1993, chapter 11); a bootstrap would repeat images, which distances
    mistake for a difference. None for fewer than twenty images.
    """
    if images < 2 * GROUPS:
        return None
    group = np.random.default_rng(seed).permutation(images) % GROUPS
    without = np.array([metric(np.flatnonzero(group != g)) for g in range(GROUPS)])
    error = float(np.sqrt((GROUPS - 1) / GROUPS * ((without - without.mean()) ** 2).sum()))
    value = metric(np.arange(images))
    return value - Z_95 * error, value + Z_95 * error
