"""Distances between two sets of features: Frechet distance, kernel distance, density and coverage.

Features are tensors (N, D), one row per image or patch. Everything is computed in float64 on the CPU.
"""

import torch
from torch import Tensor

NEIGHBORS = 5  # Naeem et al. 2020, section 4
MIN_FID_IMAGES = 2000  # with fewer, the bias of the Frechet distance is too large for comparisons


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of features (N, D) and (M, D); at least 0.

    With Inception features this is the FID (Heusel et al. 2017, eq. 6). Its bias grows as the sets get smaller.
    Raises `ValueError` for fewer than two rows.
    """
    a, b = _features(a, b)
    covariance_a, covariance_b = (torch.cov(each.T).reshape(each.shape[1], -1) for each in (a, b))
    # The trace of (S_a S_b)^(1/2) is the sum of the singular values of S_a^(1/2) S_b^(1/2).
    cross = torch.linalg.svdvals(_square_root(covariance_a) @ _square_root(covariance_b)).sum()
    means = (a.mean(0) - b.mean(0)).square().sum()
    return max(0.0, float(means + covariance_a.trace() + covariance_b.trace() - 2 * cross))


def _square_root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy of features (N, D) and (M, D); about 0 for equal distributions.

    With Inception features this is the KID (Binkowski et al. 2018), kernel (x.y / D + 1)^3. May be slightly negative.
    All rows are used at once; published values are often means over random subsets, with the same expectation.
    Raises `ValueError` for fewer than two rows.
    """
    a, b = _features(a, b)
    (n, dimensions), m = a.shape, len(b)
    aa, bb, ab = ((x @ y.T / dimensions + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    within_a = (aa.sum() - aa.trace()) / (n * (n - 1))
    within_b = (bb.sum() - bb.trace()) / (m * (m - 1))
    return float(within_a + within_b - 2 * ab.mean())


def density_coverage(real: Tensor, fake: Tensor, neighbors: int = NEIGHBORS) -> tuple[float, float]:
    """Fidelity and diversity of fake features (M, D) given real ones (N, D) (Naeem et al. 2020, eq. 4 and 5).

    Each real row has a ball whose radius is the distance to its k-th nearest other real row. Density is the mean number
    of balls that contain a fake, divided by k: at least 0, about 1 for equal distributions. Coverage is the fraction of
    balls that contain a fake: from 0 to 1, expected 1 - 2^-k for equal distributions of equal size. Raises `ValueError`
    for fewer than k + 1 real rows.
    """
    real, fake = _features(real, fake)
    if len(real) <= neighbors:
        raise ValueError(f"more than {neighbors} real features required, got {len(real)}")
    within = torch.cdist(real, real)
    radius = within.kthvalue(neighbors + 1).values  # the nearest is the row itself
    inside = torch.cdist(real, fake) < radius[:, None]
    return float(inside.sum() / (neighbors * len(fake))), float(inside.any(1).double().mean())


def _features(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"two sets of two or more features (N, D) required, got {tuple(a.shape)} and {tuple(b.shape)}")
    return a.double().cpu(), b.double().cpu()
