"""How far two sets of features are apart: Frechet distance, kernel distance, density and coverage.

Features are tensors (N, D), one row an image or a patch. Everything is computed in float64 on the processor.
"""

import torch
from torch import Tensor

NEIGHBOURS = 5  # Naeem et al. 2020, section 4
FEW = 2000  # images below which the Frechet distance is too biased to be compared


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of features (N, D) and (M, D); 0 or more.

    The FID when the features are those of Inception (Heusel et al. 2017, eq. 6). Its bias grows as images get fewer.
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
    """Squared maximum mean discrepancy of features (N, D) and (M, D), unbiased; about 0 for equal distributions.

    The KID when the features are those of Inception (Binkowski et al. 2018): the kernel is (x.y / D + 1)^3. It may be
    slightly negative. All images are used at once; published figures are often means over random subsets, which have
    the same expectation. Raises `ValueError` for fewer than two rows.
    """
    a, b = _features(a, b)
    (n, dimensions), m = a.shape, len(b)
    aa, bb, ab = ((x @ y.T / dimensions + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
    within_a = (aa.sum() - aa.trace()) / (n * (n - 1))
    within_b = (bb.sum() - bb.trace()) / (m * (m - 1))
    return float(within_a + within_b - 2 * ab.mean())


def density_coverage(real: Tensor, fake: Tensor, neighbors: int = NEIGHBOURS) -> tuple[float, float]:
    """Fidelity and diversity of fakes (M, D) beside real ones (N, D) (Naeem et al. 2020, eq. 4 and 5).

    Each real row has a ball that reaches to its k-th nearest other real row. Density counts in how many balls a fake
    lies, divided by k: about 1 for equal distributions, and 0 or more. Coverage is the share of balls that hold a
    fake: 1 - 2^-k at best expected for equal distributions of equal size, from 0 to 1. Raises `ValueError` for
    fewer rows than neighbors + 1.
    """
    real, fake = _features(real, fake)
    if len(real) <= neighbors:
        raise ValueError(f"more than {neighbors} real features are needed, not {len(real)}")
    within = torch.cdist(real, real)
    radius = within.kthvalue(neighbors + 1).values  # the nearest is the row itself
    inside = torch.cdist(real, fake) < radius[:, None]
    return float(inside.sum() / (neighbors * len(fake))), float(inside.any(1).double().mean())


def _features(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"two or more features (N, D) each are needed, not {tuple(a.shape)} and {tuple(b.shape)}")
    return a.double().cpu(), b.double().cpu()
