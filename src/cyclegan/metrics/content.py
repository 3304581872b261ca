"""What a translation keeps of its input: edges and shapes; and whether it takes on the target's colors."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from cyclegan.metrics import similarity
from cyclegan.metrics.distributions import frechet_distance

LUMINANCE = (0.299, 0.587, 0.114)
PIXELS = 100  # of each image, for its colors
LEVELS = 127.5  # of 255 in 1 of images in [-1, 1]


def luminance(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as (N, 1, H, W): by ITU-R BT.601 of three channels, else the mean of the channels."""
    if images.shape[1] == 3:
        return (images * torch.tensor(LUMINANCE, dtype=images.dtype)[:, None, None]).sum(1, keepdim=True)
    return images.mean(1, keepdim=True)


def edges(images: Tensor) -> Tensor:
    """Strength of the luminance's edges by Sobel's filters: (N, C, H, W) to (N, 1, H - 2, W - 2), 0 or more."""
    across = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]], dtype=images.dtype) / 8
    filters = torch.stack([across, across.T])[:, None]
    return conv2d(luminance(images), filters).square().sum(1, keepdim=True).sqrt()


def edge_agreement(a: Tensor, b: Tensor) -> Tensor:
    """Correlation (N) of the edges' strength in each pair of images (N, C, H, W): 1 when edges are at the same places.

    From -1 to 1, and 0 where an image has no edge. A negative has the edges of its image.
    """
    first, second = (e - e.mean(1, keepdim=True) for e in (edges(images).flatten(1) for images in (a, b)))
    lengths = first.norm(dim=1) * second.norm(dim=1)
    return torch.where(lengths > 0, (first * second).sum(1) / lengths.clamp_min(1e-12), torch.zeros(()))


def structure_agreement(a: Tensor, b: Tensor) -> Tensor:
    """SSIM's structure term (N) between the luminances of images (N, C, H, W): 1 same shapes, -1 a negative."""
    pairs = zip(luminance(a), luminance(b), strict=True)
    return torch.tensor([similarity.structure(x, y) for x, y in pairs])


def color_distance(images: Tensor, target: Tensor) -> float:
    """How far the colors of two sets of images (N, C, H, W) in [-1, 1] are apart, in levels of 255; 0 or more.

    The 2-Wasserstein distance of gaussians with the mean and covariance of a hundred pixels of each image.
    """
    return LEVELS * frechet_distance(_colors(images), _colors(target)) ** 0.5


def _colors(images: Tensor) -> Tensor:
    """A hundred pixels of each image, evenly spread, as rows (N * 100, C)."""
    flat = images.flatten(2)
    at = torch.linspace(0, flat.shape[2] - 1, min(PIXELS, flat.shape[2])).round().long()
    return flat[..., at].transpose(1, 2).reshape(-1, images.shape[1])
