"""Losses that hold a translation to the structure of its input without any labels, by name.

Each compares images x and y (N, C, H, W), of any channels, and is about 0 for images of one structure, whatever their
colors, and about 1 for images that have none in common. All see luminances.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, normalize, pad, unfold

from cyclegan.metrics.content import luminance

CELLS = 32  # along a side: the grid on which self-similarity is compared
PATCH = 3  # cells along a side of a patch
WINDOW = 7  # pixels along a side, of SSIM's windows
BLOCK = 16  # pixels along a side, in which mutual information is measured
BINS = 8  # of the histograms
FLAT = 1e-3  # added to variances, on [-1, 1], so that the noise of flat areas counts for nothing


def self_similarity(x: Tensor, y: Tensor) -> Tensor:
    """How differently the patches of x and of y resemble one another (Shechtman and Irani 2007; Zheng et al. 2021).

    1 - cos of the two vectors of a patch's similarities to all other patches, the mean over all patches, where
    similarity is the normalized correlation of patches of 3x3 cells on a grid of at most 32x32.
    """
    ours, theirs = (_similarities(each) for each in (x, y))
    return 1 - (ours * theirs).sum(-1).mean()


def _similarities(images: Tensor) -> Tensor:
    """(N, P, P): for each patch, its correlations with all, normalized to length 1."""
    height, width = images.shape[-2:]
    sides = min(height, CELLS), min(width, CELLS)
    cells = pad(adaptive_avg_pool2d(luminance(images), sides), (1, 1, 1, 1), mode="replicate")
    patches = unfold(cells, PATCH).transpose(1, 2)
    patches = patches - patches.mean(-1, keepdim=True)
    patches = patches * (patches.square().sum(-1, keepdim=True) + FLAT).rsqrt()
    return normalize(patches @ patches.transpose(1, 2), dim=-1)


def mutual_information(x: Tensor, y: Tensor) -> Tensor:
    """The fraction of the local information of x that y does not have: 1 - sum I(x; y) / sum H(x).

    I and H of histograms with 8 bins in blocks of 16x16 pixels; bins are triangular, so that gradients pass (Viola and
    Wells 1997 have Gaussian ones). Blind to any change of brightness that is one-to-one, such as a negative.
    """
    ours, theirs = (_bin_weights(each) for each in (x, y))
    joint = ours.transpose(-1, -2) @ theirs / ours.shape[-2]  # (N, blocks, BINS, BINS)
    p, q = joint.sum(-1), joint.sum(-2)
    information = _entropy(p) + _entropy(q) - _entropy(joint.flatten(-2))
    # The soft bins blur the histograms: even x says less about itself than its entropy, so it is the measure.
    itself = ours.transpose(-1, -2) @ ours / ours.shape[-2]
    full = 2 * _entropy(p) - _entropy(itself.flatten(-2))
    return 1 - information.sum() / full.sum().clamp_min(1e-6)


def _bin_weights(images: Tensor) -> Tensor:
    """(N, blocks, pixels, BINS): how much of each pixel is in each bin; the bins span the range of the block."""
    values = luminance(images)
    block = min(BLOCK, *values.shape[-2:])
    values = unfold(values, block, stride=block).transpose(1, 2)
    low, high = (each.detach() for each in (values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)))
    place = (values - low) / (high - low).clamp_min(FLAT) * (BINS - 1)
    return (1 - (place[..., None] - torch.arange(BINS, device=values.device)).abs()).clamp_min(0)


def _entropy(p: Tensor) -> Tensor:
    """In nats, of distributions along the last dimension."""
    return -(p * (p + 1e-8).log()).sum(-1)


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """1 - SSIM's structure term, the local correlation (Wang et al. 2004, eq. 10), in windows of 7x7 pixels.

    Blind to brightness and contrast, but 2 for a negative.
    """
    a, b = luminance(x), luminance(y)
    window = min(WINDOW, *a.shape[-2:])
    mean_a, mean_b, aa, bb, ab = (avg_pool2d(each, window, 1) for each in (a, b, a * a, b * b, a * b))
    variance_a, variance_b = (aa - mean_a**2).clamp_min(0), (bb - mean_b**2).clamp_min(0)
    deviations = ((variance_a + FLAT) * (variance_b + FLAT)).sqrt()
    return 1 - ((ab - mean_a * mean_b + FLAT) / deviations).mean()


STRUCTURE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "self_similarity": self_similarity,
    "mutual_information": mutual_information,
    "ssim": ssim,
}
