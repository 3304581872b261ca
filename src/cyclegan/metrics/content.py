"""Content metrics: agreement of edges and structure with the input, and distance of colors from the target domain."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from cyclegan.metrics import similarity
from cyclegan.metrics.distributions import frechet_distance

LUMINANCE = (0.299, 0.587, 0.114)
PIXELS = 100  # sampled from each image for its color statistics
LEVELS = 127.5  # 8-bit levels per unit of the range [-1, 1]


def luminance(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as (N, 1, H, W): ITU-R BT.601 luma of three channels, otherwise the mean of the channels."""
    if images.shape[1] == 3:
        return (images * torch.tensor(LUMINANCE, dtype=images.dtype)[:, None, None]).sum(1, keepdim=True)
    return images.mean(1, keepdim=True)


def with_channels(images: Tensor, channels: int) -> Tensor:
    """Images (N, C, H, W) with another number of channels, each the mean of all; unchanged if they have as many."""
    return images if images.shape[1] == channels else images.mean(1, keepdim=True).expand(-1, channels, -1, -1)


def edges(images: Tensor) -> Tensor:
    """Sobel gradient magnitude of the luminance: (N, C, H, W) to (N, 1, H - 2, W - 2), at least 0."""
    across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], dtype=images.dtype) / 8
    filters = torch.stack([across, across.T])[:, None]
    return conv2d(luminance(images), filters).square().sum(1, keepdim=True).sqrt()


def edge_agreement(a: Tensor, b: Tensor) -> Tensor:
    """Correlation (N) of the edge strengths of each pair of images (N, C, H, W), from -1 to 1.

    1 when the edges coincide, also between an image and its negative; 0 when an image has no edges.
    """
    first, second = (each - each.mean(1, keepdim=True) for each in (edges(a).flatten(1), edges(b).flatten(1)))
    lengths = first.norm(dim=1) * second.norm(dim=1)
    return torch.where(lengths > 0, (first * second).sum(1) / lengths.clamp_min(1e-12), torch.zeros(()))


def structure_agreement(a: Tensor, b: Tensor) -> Tensor:
    """SSIM's structure term (N) of the luminances of images (N, C, H, W): 1 for equal structure, -1 for a negative."""
    return torch.tensor([*map(similarity.structure, luminance(a), luminance(b))])


def masked_change(a: Tensor, b: Tensor, kept: Tensor) -> Tensor:
    """Mean absolute difference (N) of images (N, C, H, W) where `kept` (N, 1, H, W) is 1; 0 where that is nowhere."""
    return ((a - b).abs().mean(1, keepdim=True) * kept).sum((1, 2, 3)) / kept.sum((1, 2, 3)).clamp_min(1e-6)


def color_distance(images: Tensor, target: Tensor) -> float:
    """Distance of the color distributions of two sets of images (N, C, H, W) in [-1, 1], in 8-bit levels; at least 0.

    The 2-Wasserstein distance of Gaussians fitted to a hundred pixels of each image.
    """
    return LEVELS * frechet_distance(_colors(images), _colors(target)) ** 0.5


def _colors(images: Tensor) -> Tensor:
    """A hundred evenly spaced pixels of each image, as rows (N * 100, C)."""
    flat = images.flatten(2)
    at = torch.linspace(0, flat.shape[2] - 1, min(PIXELS, flat.shape[2])).round().long()
    return flat[..., at].transpose(1, 2).reshape(-1, images.shape[1])
