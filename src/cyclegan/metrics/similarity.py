"""Similarity to the ground truth: PSNR, SSIM and its structure term, L1."""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from cyclegan.metrics.intervals import MetricValue, mean_value

PEAK_TO_PEAK = 2.0  # range of images in [-1, 1]
WINDOW, SIGMA = 11, 1.5  # pixels; Wang et al. 2004, section III-C, as are K1 and K2
K1, K2 = 0.01, 0.03


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of two images (C, H, W) in [-1, 1]; infinite when they are equal.

    Raises `ValueError` when their shapes differ.
    """
    a, b = _comparable(a, b)
    error = (a - b).square().mean().item()
    return float(10 * np.log10(PEAK_TO_PEAK**2 / error)) if error else float("inf")


def l1(a: Tensor, b: Tensor) -> float:
    """Mean absolute difference of two images (C, H, W) in [-1, 1]: 0 when equal, at most 2.

    Raises `ValueError` when their shapes differ.
    """
    a, b = _comparable(a, b)
    return float((a - b).abs().mean().item())


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of two images (C, H, W) in [-1, 1], averaged over channels; at most 1.

    Gaussian window of 11x11 pixels with sigma 1.5, without padding; a side shorter than 11 pixels is first extended to
    11 by symmetric reflection. Raises `ValueError` when the shapes differ.
    """
    return float(ssim_map(*_padded(a, b)).mean().item())


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """SSIM wherever the window fits: (N, C, H, W) in [-1, 1], to (N, C, H - 10, W - 10); differentiable."""
    mean_a, mean_b, variance_a, variance_b, covariance = _moments(a, b)
    c1, c2 = (K1 * PEAK_TO_PEAK) ** 2, (K2 * PEAK_TO_PEAK) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return luminance * structure


def structure(a: Tensor, b: Tensor) -> float:
    """SSIM's structure term (Wang et al. 2004, eq. 10): the local correlation of two images (C, H, W), from -1 to 1.

    Independent of brightness and contrast; -1 for a negative. Raises `ValueError` when the shapes differ.
    """
    _, _, variance_a, variance_b, covariance = _moments(*_padded(a, b))
    c3 = (K2 * PEAK_TO_PEAK) ** 2 / 2
    deviations = variance_a.clamp_min(0).sqrt() * variance_b.clamp_min(0).sqrt()
    return float(((covariance + c3) / (deviations + c3)).mean().item())


SIMILARITIES = {"psnr": psnr, "ssim": ssim, "l1": l1}


def compare_with_ground_truth(
    images: Iterable[tuple[Tensor, Tensor | None, Tensor]], metrics: Sequence[str] = ("psnr", "ssim")
) -> dict[str, MetricValue]:
    """Mean similarity of translations to their ground truth, with the untranslated inputs as baseline.

    `images` yields (translation, untranslated input or None, ground truth), each (C, H, W) in [-1, 1]; they are used
    one at a time, so sizes may differ. Empty without images.
    """
    scores: dict[str, list[float]] = {name: [] for name in metrics}
    baselines: dict[str, list[float]] = {name: [] for name in metrics}
    for translation, untranslated, truth in images:
        for name in metrics:
            scores[name].append(SIMILARITIES[name](translation, truth))
            if untranslated is not None:
                baselines[name].append(SIMILARITIES[name](untranslated, truth))
    return {name: mean_value(each, baselines[name] or None) for name, each in scores.items() if each}


def _moments(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Local means, variances and covariance of (N, C, H, W), where the window fits."""
    mean_a, mean_b, square_a, square_b, product = _blur(torch.stack([a, b, a * a, b * b, a * b]))
    return mean_a, mean_b, square_a - mean_a**2, square_b - mean_b**2, product - mean_a * mean_b


def _padded(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two images (C, H, W) as (1, C, H, W), with short sides extended to the window by symmetric reflection."""
    missing = [max(0, WINDOW - side) for side in a.shape[1:]]
    padding = [(0, 0), *((count // 2, count - count // 2) for count in missing)]
    a, b = (torch.from_numpy(np.pad(each.numpy(), padding, mode="symmetric"))[None] for each in _comparable(a, b))
    return a, b


def _comparable(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    if a.shape != b.shape or a.ndim != 3:
        raise ValueError(f"two images (C, H, W) of equal shape required, got {tuple(a.shape)} and {tuple(b.shape)}")
    return a.double().cpu(), b.double().cpu()  # variances are small differences of large values


def _blur(maps: Tensor) -> Tensor:
    """(..., H, W) to (..., H - 10, W - 10): weighted means over the Gaussian window."""
    offset = torch.arange(WINDOW, dtype=maps.dtype, device=maps.device) - WINDOW // 2
    weights = torch.exp(-(offset**2) / (2 * SIGMA**2))
    weights = weights / weights.sum()
    flat = maps.reshape(-1, 1, *maps.shape[-2:])
    flat = conv2d(conv2d(flat, weights[None, None, :, None]), weights[None, None, None, :])
    return flat.reshape(*maps.shape[:-2], *flat.shape[2:])
