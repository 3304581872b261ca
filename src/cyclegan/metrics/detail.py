"""Fine detail of images: too little of it (blur), too much, and dots from upsampling, each relative to real images."""

from typing import Literal

import torch
from torch import Tensor

from cyclegan.metrics.content import LEVELS, edges, luminance

BLURRED, TOO_SHARP = 0.5, 2.0  # gradient energy relative to real images
DOTTED, MIN_RATIO = 3.0, 0.5  # Nyquist ratio relative to real images, which may have none if they were enlarged
Defect = Literal["dotted", "blurred", "too sharp"]


def gradient_energy(images: Tensor) -> Tensor:
    """Mean squared gradient (N) of the luminance of images (N, C, H, W) in [-1, 1], in squared 8-bit levels per pixel.

    The Sobel filter does not respond to patterns at the Nyquist frequency, so dots do not hide blur.
    """
    return LEVELS**2 * edges(images).square().mean((1, 2, 3))


def nyquist_ratio(images: Tensor) -> Tensor:
    """Power (N) of images (N, C, H, W) in [-1, 1] at the Nyquist frequency relative to its neighbors, at least 0.

    Rows and columns are measured, and the larger ratio counts. Natural images have 0.6 to 1; a checkerboard of two
    pixels has a multiple [Odena et al. 2016]. Noise of one 8-bit level is added to the neighbors, so that invisible
    patterns in smooth images do not count.
    """
    gray, ratios = luminance(images)[:, 0], []
    for lines in (gray, gray.mT):
        window = torch.hann_window(lines.shape[-1], periodic=True, dtype=images.dtype)
        power = torch.fft.rfft((lines - lines.mean(-1, keepdim=True)) * window).abs().square().mean(1)
        highest, next_highest = (round(fraction * (power.shape[1] - 1)) for fraction in (15 / 16, 3 / 4))
        floor = window.square().sum() / LEVELS**2
        ratios.append(power[:, highest:].mean(1) / (power[:, next_highest:highest].mean(1) + floor))
    return torch.maximum(*ratios)


MEASURES = (gradient_energy, nyquist_ratio)


def find_defects(energy: float, real_energy: float, dots: float, real_dots: float) -> list[Defect]:
    """What is wrong with images of this gradient energy and Nyquist ratio, compared with those of real images."""
    found: list[Defect] = ["dotted"] if dots >= DOTTED * max(real_dots, MIN_RATIO) else []
    if energy <= BLURRED * real_energy:
        return [*found, "blurred"]
    return found or (["too sharp"] if energy >= TOO_SHARP * real_energy else [])
