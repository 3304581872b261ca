"""Sliced Wasserstein distance over patches of Laplacian pyramids: a distance of image sets that needs no weights.

Karras et al., "Progressive growing of GANs", ICLR 2018, section 5 and appendix. Each level of the pyramid holds what
is of one size in the image, so that the distances tell of texture (fine levels) and of layout (coarse ones).
"""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, interpolate, pad

PATCH = 7  # pixels
LEAST = 16  # pixels of the coarsest level
PATCHES = 32  # of each image and level; the paper takes 128 of each of 16384 images
DIRECTIONS = 128  # to project on; 512 in the paper
SCALE = 1000.0  # the paper gives its figures times a thousand

Descriptors = dict[int, Tensor]  # by the level's shorter side in pixels: (N, patches, C * 49)


def pyramid(images: Tensor) -> list[Tensor]:
    """The Laplacian pyramid of images (N, C, H, W), finest level first; the last is what remains, of 16 to 31 pixels.

    Images smaller than 32 pixels have one level, themselves.
    """
    levels = []
    while min(images.shape[-2:]) >= 2 * LEAST:
        smaller = _blurred(images)[..., ::2, ::2]
        larger = interpolate(smaller, images.shape[-2:], mode="bilinear", align_corners=False)
        levels.append(images - larger)
        images = smaller
    return [*levels, images]


def _blurred(images: Tensor) -> Tensor:
    """By the binomial filter 1 4 6 4 1 (Burt and Adelson 1983)."""
    channels = images.shape[1]
    weights = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=images.dtype) / 16
    kernel = weights.repeat(channels, 1, 1, 1)
    wide = pad(images, (2, 2, 2, 2), mode="reflect")
    return conv2d(conv2d(wide, kernel, groups=channels), kernel.transpose(2, 3), groups=channels)


def descriptors(images: Tensor, seed: int = 0, patches: int = PATCHES) -> Descriptors:
    """Patches of 7x7 at random places of every level of each image (N, C, H, W) in [-1, 1].

    The places are the same for equal seeds and shapes. Raises `ValueError` for sides below 7 pixels.
    """
    if images.ndim != 4 or min(images.shape[-2:]) < PATCH:
        raise ValueError(f"images (N, C, H, W) of at least 7x7 are needed, not {tuple(images.shape)}")
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for level in pyramid(images.float().cpu()):
        count, channels, height, width = level.shape
        top = torch.randint(height - PATCH + 1, (count, patches), generator=draw)
        left = torch.randint(width - PATCH + 1, (count, patches), generator=draw)
        windows = level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)  # (N, C, H - 6, W - 6, 7, 7)
        picked = windows[torch.arange(count)[:, None], :, top, left]  # (N, patches, C, 7, 7)
        found[min(height, width)] = picked.reshape(count, patches, channels * PATCH * PATCH)
    return found


def standardized(found: Tensor, reference: Tensor) -> Tensor:
    """Descriptors (N, patches, C * 49) as rows (N * patches, C * 49), in deviations of the reference's channels.

    The paper standardizes each set by itself, which hides a difference of color or contrast. Here it shall count.
    """
    return (_by_channel(found) - _mean(reference)).div(_deviation(reference)).flatten(1)


def _by_channel(found: Tensor) -> Tensor:
    return found.reshape(-1, found.shape[-1] // PATCH**2, PATCH**2)


def _mean(reference: Tensor) -> Tensor:
    return _by_channel(reference).mean((0, 2), keepdim=True)


def _deviation(reference: Tensor) -> Tensor:
    return _by_channel(reference).std((0, 2), keepdim=True).clamp_min(1e-6)


def sliced_wasserstein(a: Tensor, b: Tensor, directions: int = DIRECTIONS, seed: int = 0) -> float:
    """Mean over random directions of the 1-Wasserstein distance of rows (N, D) and (N, D) projected on them.

    0 for equal sets, and it grows without limit. Raises `ValueError` when the shapes differ.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"two equally large sets (N, D) are needed, not {tuple(a.shape)} and {tuple(b.shape)}")
    draw = torch.Generator().manual_seed(seed)
    onto = torch.randn(a.shape[1], directions, generator=draw, dtype=a.dtype)
    onto = onto / onto.norm(dim=0)
    projected_a, projected_b = ((each @ onto).T.contiguous().sort(dim=1).values for each in (a, b))
    return float((projected_a - projected_b).abs().mean())


def level_distance(found: Tensor, reference: Tensor) -> float:
    """Times a thousand, the sliced Wasserstein distance of one level's descriptors from those of as many images."""
    return SCALE * sliced_wasserstein(standardized(found, reference), standardized(reference, reference))


def image_distance(images: Tensor, reference: Tensor) -> float:
    """The mean over all levels of two sets of as many images (N, C, H, W) in [-1, 1]; 0 for equal ones."""
    a, b = descriptors(images), descriptors(reference)
    return sum(level_distance(a[side], b[side]) for side in a) / len(a)
