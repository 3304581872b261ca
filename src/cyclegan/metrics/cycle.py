"""What of an image the way there and back keeps, and how much of that hangs on what nobody can see.

A CycleGAN may hide the input in faint patterns of the fake, so that the way back restores what the fake does not
show (Chu, Zhmoginov and Sandler, "CycleGAN, a master of steganography", 2017). Whoever disturbs the fake a little
destroys such patterns, and the cycle with them; a cycle by what is to be seen survives.
"""

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d, pad

BLUR = 0.7  # pixels, the gaussian's deviation
JPEG_QUALITY = 75  # Pillow's usual one
NOISE = 3.0  # levels of 255, the gaussian's deviation
LEVEL = 2 / 255  # of images in [-1, 1]


def eight_bits(images: Tensor) -> Tensor:
    """Images (N, C, H, W) in [-1, 1] as an 8-bit file keeps them."""
    return ((images.clamp(-1, 1) + 1) / LEVEL).round() * LEVEL - 1


def blurred(images: Tensor) -> Tensor:
    """Images (N, C, H, W), slightly blurred."""
    offset = torch.arange(-2, 3, dtype=images.dtype)
    weights = torch.exp(-(offset**2) / (2 * BLUR**2))
    kernel = (weights / weights.sum()).repeat(images.shape[1], 1, 1, 1)
    wide = pad(images, (2, 2, 2, 2), mode="replicate")
    groups = images.shape[1]
    return conv2d(conv2d(wide, kernel, groups=groups), kernel.transpose(2, 3), groups=groups)


def jpeg(images: Tensor) -> Tensor:
    """Images (N, C, H, W) in [-1, 1] with 1 or 3 channels, compressed as JPEG of quality 75 and read again."""
    return torch.stack([_jpeg(image) for image in images])


def _jpeg(image: Tensor) -> Tensor:
    levels = ((image.clamp(-1, 1) + 1) / LEVEL).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(levels.squeeze(2) if levels.shape[2] == 1 else levels).save(file, "JPEG", quality=JPEG_QUALITY)
    read = np.atleast_3d(np.asarray(Image.open(file, formats=("JPEG",)), np.float32))
    return torch.from_numpy(read).permute(2, 0, 1) * LEVEL - 1


def noisy(images: Tensor) -> Tensor:
    """Images (N, C, H, W) with gaussian noise of three levels of 255, the same at every call."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return images + NOISE * LEVEL * noise


DISTURBANCES: dict[str, Callable[[Tensor], Tensor]] = {
    "8 bits": eight_bits,
    "blur": blurred,
    "JPEG": jpeg,
    "noise": noisy,
}


def cycle_errors(images: Tensor, back: Tensor) -> Tensor:
    """Mean absolute difference (N) of each image and its reconstruction, both (N, C, H, W) in [-1, 1]."""
    return (images - back).abs().flatten(1).mean(1)


def chance_errors(images: Tensor, back: Tensor) -> Tensor:
    """As `cycle_errors`, with the reconstruction of the next image: what is left when an image is not known."""
    return cycle_errors(images, back.roll(1, 0))


def survival(clean: Tensor, disturbed: Tensor, chance: Tensor) -> float:
    """The share of the cycle that a disturbance of the fakes leaves, from errors (N) of each image.

    (chance - disturbed) / (chance - clean), cut to [0, 1]: 1 when the reconstruction is as good as before, 0 when it
    tells no more of the image than another image's. 1 also where there was no cycle to lose.
    """
    there = (chance.mean() - clean.mean()).item()
    left = (chance.mean() - disturbed.mean()).item()
    return min(1.0, max(0.0, left / there)) if there > 0 else 1.0
