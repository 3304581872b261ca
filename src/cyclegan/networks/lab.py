"""Generators that color grayscale images, in the color space Lab."""

import torch
from torch import Tensor

from cyclegan.imaging.lab import lab_to_rgb, rgb_to_lab
from cyclegan.networks.generator import ColorSpaceGenerator

MIDDLE_L, MAX_AB = 50.0, 110.0  # L / 50 - 1 and ab / 110 are about [-1, 1] [R]


class LabGenerator(ColorSpaceGenerator):
    """RGB images to RGB images by a network from L to ab: lightness is kept, colors are replaced."""

    in_channels, out_channels = 1, 3

    def encode(self, x: Tensor) -> Tensor:
        """L of RGB images."""
        return split_lab(x)[0]

    def decode(self, x: Tensor, y: Tensor) -> Tensor:
        """RGB images with the lightness of `x` and the colors `y`."""
        return join_lab(split_lab(x)[0], y)

    def visible_input(self, x: Tensor) -> Tensor:
        """The images in gray."""
        lightness, colors = split_lab(x)
        return join_lab(lightness, torch.zeros_like(colors))


def split_lab(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """RGB images (N, 3, H, W) in [-1, 1] to L (N, 1, H, W) and ab (N, 2, H, W), both about [-1, 1]."""
    lab = rgb_to_lab(rgb)
    return lab[:, :1] / MIDDLE_L - 1, lab[:, 1:] / MAX_AB


def join_lab(lightness: Tensor, colors: Tensor) -> Tensor:
    """L and ab as of `split_lab` to RGB images (N, 3, H, W) in [-1, 1]."""
    return lab_to_rgb(torch.cat([(lightness + 1) * MIDDLE_L, colors.to(lightness) * MAX_AB], 1))
