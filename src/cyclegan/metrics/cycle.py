"""Cycle reconstruction error, and how much of it depends on imperceptible patterns.

A CycleGAN may hide the input in faint patterns of the translation and reconstruct details that the translation does
not show (Chu, Zhmoginov and Sandler, "CycleGAN, a master of steganography", 2017). A small perturbation of the
translation destroys such patterns, and the reconstruction with them; one based on visible content survives.
"""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d, pad

BLUR = 0.7  # pixels, standard deviation of the Gaussian
JPEG_QUALITY = 75  # Pillow's default
NOISE = 3.0  # 8-bit levels, standard deviation of the Gaussian
LEVEL = 2 / 255  # one 8-bit level of images in [-1, 1]


def quantize(images: Tensor) -> Tensor:
    """Images (N, C, H, W) in [-1, 1], rounded to 8-bit levels."""
    return ((images.clamp(-1, 1) + 1) / LEVEL).round() * LEVEL - 1


def blur(images: Tensor) -> Tensor:
    """Images (N, C, H, W) after a slight Gaussian blur."""
    offset = torch.arange(-2, 3, dtype=images.dtype)
    weights = torch.exp(-(offset**2) / (2 * BLUR**2))
    kernel = (weights / weights.sum()).repeat(images.shape[1], 1, 1, 1)
    wide = pad(images, (2, 2, 2, 2), mode="replicate")
    return conv2d(conv2d(wide, kernel, groups=len(kernel)), kernel.transpose(2, 3), groups=len(kernel))


def compress_jpeg(images: Tensor) -> Tensor:
    """Images (N, C, H, W) in [-1, 1] with 1 or 3 channels after JPEG compression at quality 75."""
    decoded = []
    for levels in ((images.clamp(-1, 1) + 1) / LEVEL).round().byte().permute(0, 2, 3, 1).numpy():
        file = io.BytesIO()
        Image.fromarray(levels.squeeze(2) if levels.shape[2] == 1 else levels).save(file, "JPEG", quality=JPEG_QUALITY)
        decoded.append(np.atleast_3d(np.asarray(Image.open(file, formats=("JPEG",)), np.float32)))
    return torch.from_numpy(np.stack(decoded)).permute(0, 3, 1, 2) * LEVEL - 1


def add_noise(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with Gaussian noise of three 8-bit levels, the same at every call."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return images + NOISE * LEVEL * noise


PERTURBATIONS = {"8bit": quantize, "blur": blur, "jpeg": compress_jpeg, "noise": add_noise}


def cycle_errors(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean absolute error (N) of each reconstruction, both batches (N, C, H, W) in [-1, 1]."""
    return (images - reconstructions).abs().flatten(1).mean(1)


def chance_errors(images: Tensor, reconstructions: Tensor) -> Tensor:
    """As `cycle_errors`, but against the reconstruction of the next image: the error at chance level."""
    return cycle_errors(images, reconstructions.roll(1, 0))


def retained_fraction(clean: Tensor, perturbed: Tensor, chance: Tensor) -> float:
    """The fraction of the reconstruction that survives a perturbation of the translations, from errors (N) per image.

    (chance - perturbed) / (chance - clean), clamped to [0, 1]: 1 when the reconstruction is as good as before, 0 when
    it is no better than another image's. Also 1 when the clean reconstruction is no better than chance.
    """
    before = (chance.mean() - clean.mean()).item()
    after = (chance.mean() - perturbed.mean()).item()
    return min(1.0, max(0.0, after / before)) if before > 0 else 1.0
