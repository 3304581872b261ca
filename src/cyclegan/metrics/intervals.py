"""Metric values with 95% intervals over the images, and the significance of differences."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

RESAMPLES = 2000
GROUPS = 10  # of images for the jackknife
Z_95 = 1.96  # standard errors on either side of the mean that enclose 95% of a normal distribution

Interval = tuple[float, float]
Indices = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class MetricValue:
    """A metric's value, its uncertainty and reference values."""

    value: float
    images: int  # that it was measured on
    interval: Interval | None = None  # 95%; None where it cannot be estimated
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


def bootstrap_interval(values: Sequence[float]) -> Interval | None:
    """The 95% bootstrap interval of the mean; None for fewer than two values or when one is infinite."""
    return _bootstrap(np.asarray(values))[1] if len(values) > 1 and np.isfinite(values).all() else None


def paired_difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, Interval, float]:
    """Mean of `second` minus `first` on the same images, its 95% interval, and the two-sided p-value for no change.

    By the paired bootstrap (Efron and Tibshirani 1993, chapter 16): p is twice the fraction of resamples in which the
    difference has the opposite sign, at least 1 / resamples. Raises `ValueError` unless both have the same length of
    two or more.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"two or more values of the same images required, got {len(first)} and {len(second)}")
    differences = np.asarray(second, float) - np.asarray(first, float)
    if not differences.any():
        return 0.0, (0.0, 0.0), 1.0
    means, interval = _bootstrap(differences)
    tail = min((means <= 0).mean(), (means >= 0).mean())
    return float(differences.mean()), interval, float(min(1.0, max(2 * tail, 1 / RESAMPLES)))


def _bootstrap(values: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], Interval]:
    """Means of resampled values, and the interval that encloses 95% of them."""
    rows = np.random.default_rng(0).integers(0, len(values), (RESAMPLES, len(values)))
    means = values[rows].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return means, (float(low), float(high))


def jackknife_values(
    metrics: Callable[[Indices], Mapping[str, float]], images: int, seed: int = 0
) -> dict[str, MetricValue]:
    """Metrics that are not means over images, such as distances between two sets of them, with 95% intervals.

    `metrics` computes them from the images with the given indices. The images are divided into ten groups, each of
    which is left out in turn (Efron and Tibshirani 1993, chapter 11); a bootstrap would repeat images, which distances
    mistake for a difference. For fewer than twenty images there are no intervals.
    """
    values = metrics(np.arange(images))
    if images < 2 * GROUPS:
        return {key: MetricValue(value, images) for key, value in values.items()}
    group = np.random.default_rng(seed).permutation(images) % GROUPS
    parts = [metrics(np.flatnonzero(group != g)) for g in range(GROUPS)]
    found = {}
    for key, value in values.items():
        without = np.array([part[key] for part in parts])
        error = Z_95 * float(np.sqrt((GROUPS - 1) / GROUPS * ((without - without.mean()) ** 2).sum()))
        found[key] = MetricValue(value, images, (value - error, value + error))
    return found
