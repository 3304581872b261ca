"""Colorisation: pix2pix from lightness to color, in the space Lab [P 4, "BW -> color"; R].

x is a picture's lightness L, y its colors a and b. To everything outside, the method takes pictures and gives
pictures: what it is given may be gray or colored, only its lightness is looked at, and kept.
"""

import torch
from torch import Tensor

from cyclegan.imaging.lab import lab_to_rgb, rgb_to_lab
from cyclegan.methods.method import Batch
from cyclegan.methods.pix2pix import Pix2Pix
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import COLORIZATION

L_MIDDLE, AB_MOST = 50.0, 110.0  # L / 50 - 1 and ab / 110 are about [-1, 1] [R]


@register_method(COLORIZATION)
class Colorization(Pix2Pix):
    """pix2pix with x = L (one channel) and y = ab (two). A and B of a batch are the same RGB pictures."""

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """L and ab of the pictures, in the networks' scale."""
        return split(batch["B"])

    @classmethod
    def generator_channels(cls, images: tuple[int, int]) -> tuple[int, int]:
        """L in, ab out."""
        return 1, 2

    @classmethod
    def to_generator(cls, images: Tensor) -> Tensor:
        """The lightness of pictures (N, 3, H, W) in [-1, 1]."""
        return split(images)[0]

    @classmethod
    def from_generator(cls, images: Tensor, made: Tensor) -> Tensor:
        """Pictures of the same lightness in the generator's colors."""
        return join(split(images)[0], made)

    @classmethod
    def seen(cls, images: Tensor) -> Tensor:
        """The pictures without their colors."""
        lightness, colors = split(images)
        return join(lightness, torch.zeros_like(colors))


def split(rgb: Tensor) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, H, W) in [-1, 1] to L (N, 1, H, W) and ab (N, 2, H, W), both about [-1, 1]."""
    lab = rgb_to_lab(rgb)
    return lab[:, :1] / L_MIDDLE - 1, lab[:, 1:] / AB_MOST


def join(lightness: Tensor, colors: Tensor) -> Tensor:
    """L and ab as of `split` to pictures (N, 3, H, W) in [-1, 1]."""
    return lab_to_rgb(torch.cat([(lightness + 1) * L_MIDDLE, colors.to(lightness) * AB_MOST], 1))
