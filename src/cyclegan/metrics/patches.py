"""Sliced Wasserstein distance (SWD) of patches of Laplacian pyramids: compares image sets without a trained network.

Karras et al., "Progressive growing of GANs", ICLR 2018, section 5 and appendix. Each level of the pyramid holds one
scale of the image: fine levels compare texture, coarse levels layout.
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

PATCH = 7  # pixels
MIN_SIDE = 16  # pixels of the coarsest level
PATCHES = 32  # per image and level; 128 in the paper, which compares 16384 images
DIRECTIONS = 128  # random projections; 512 in the paper
SCALE = 1000.0  # the paper multiplies its values by a thousand

Descriptors = dict[int, Tensor]  # shorter side of the level in pixels: (N, patches, C * 49)


def pyramid(images: Tensor) -> list[Tensor]:
    """The Laplacian pyramid of images (N, C, H, W), finest level first; the last is the residual of 16 to 31 pixels.

    Images smaller than 32 pixels have a single level, the image itself.
    """
    levels = []
    while min(images.shape[-2:]) >= 2 * MIN_SIDE:
        smaller = _blur(images)[..., ::2, ::2]
        larger = interpolate(smaller, images.shape[-2:], mode="bilinear", align_corners=False)
        levels.append(images - larger)
        images = smaller
    return [*levels, images]


def _blur(images: Tensor) -> Tensor:
    """Binomial filter 1 4 6 4 1 (Burt and Adelson 1983)."""
    weights = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=images.dtype) / 16
    kernel = weights.repeat(images.shape[1], 1, 1, 1)
    wide = pad(images, (2, 2, 2, 2), mode="reflect")
    return conv2d(conv2d(wide, kernel, groups=len(kernel)), kernel.transpose(2, 3), groups=len(kernel))


def descriptors(images: Tensor, seed: int = 0, patches: int = PATCHES) -> Descriptors:
    """Patches of 7x7 pixels at random positions of every pyramid level of images (N, C, H, W) in [-1, 1].

    Positions depend only on the seed and the shape. Raises `ValueError` for sides below 7 pixels.
    """
    if images.ndim != 4 or min(images.shape[-2:]) < PATCH:
        raise ValueError(f"images (N, C, H, W) of at least 7x7 pixels required, got {tuple(images.shape)}")
    rng = torch.Generator().manual_seed(seed)
    found = {}
    for level in pyramid(images.float().cpu()):
        count, channels, height, width = level.shape
        top = torch.randint(height - PATCH + 1, (count, patches), generator=rng)
        left = torch.randint(width - PATCH + 1, (count, patches), generator=rng)
        windows = level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # (N, C, H - 6, W - 6, 7, 7)
        picked = windows[torch.arange(count)[:, None], :, top, left]  # (N, patches, C, 7, 7)
        found[min(height, width)] = picked.reshape(count, patches, channels * PATCH * PATCH)
    return found


def standardize(level: Tensor, reference: Tensor) -> Tensor:
    """Descriptors (N, patches, C * 49) as rows (N * patches, C * 49), normalized by the reference's channel statistics.

    The paper normalizes each set by its own statistics, which hides differences of color and contrast.
    """
    values, of_reference = (each.reshape(-1, each.shape[-1] // PATCH**2, PATCH**2) for each in (level, reference))
    deviation = of_reference.std((0, 2), keepdim=True).clamp_min(1e-6)
    return (values - of_reference.mean((0, 2), keepdim=True)).div(deviation).flatten(1)


def sliced_wasserstein(a: Tensor, b: Tensor, directions: int = DIRECTIONS, seed: int = 0) -> float:
    """Mean 1-Wasserstein distance of rows (N, D) and (N, D) projected onto random directions; 0 for equal sets.

    Raises `ValueError` when the shapes differ.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"two sets (N, D) of equal size required, got {tuple(a.shape)} and {tuple(b.shape)}")
    onto = torch.randn(a.shape[1], directions, generator=torch.Generator().manual_seed(seed), dtype=a.dtype)
    onto = onto / onto.norm(dim=0)
    projected_a, projected_b = ((each @ onto).T.contiguous().sort(dim=1).values for each in (a, b))
    return float((projected_a - projected_b).abs().mean())


def level_distance(level: Tensor, reference: Tensor) -> float:
    """SWD times a thousand of one level's descriptors (N, patches, C * 49) from those of as many reference images."""
    return SCALE * sliced_wasserstein(standardize(level, reference), standardize(reference, reference))


def image_distance(images: Tensor, reference: Tensor) -> float:
    """SWD times a thousand, mean over all levels, of two sets of N images (N, C, H, W) in [-1, 1]; 0 for equal sets."""
    a, b = descriptors(images), descriptors(reference)
    return sum(level_distance(a[side], b[side]) for side in a) / len(a)
