"""Generators that color grayscale images, in the color space CIE L*a*b* (1976).

It is that of D65 white and the 2 degree observer. L is in [0, 100]; a (green to red) and b (blue to yellow) are 0 for
grays, and within [-110, 110] for sRGB colors.
"""

import torch
from torch import Tensor

from cyclegan.networks.generator import ColorSpaceGenerator

MIDDLE_L, MAX_AB = 50.0, 110.0  # L / 50 - 1 and ab / 110 are about [-1, 1] [R]

# ITU-R BT.709: linear sRGB to XYZ. Its row sums are the white point, so that grays map to a = b = 0.
_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_FROM_XYZ = tuple(map(tuple, torch.linalg.inv(torch.tensor(_TO_XYZ, dtype=torch.float64)).tolist()))
_WHITE = tuple(sum(row) for row in _TO_XYZ)
_KNEE = 6 / 29  # CIE's cube root is linear below its cube


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


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert (N, 3, H, W) of sRGB in [-1, 1] to L, a, b of the same shape."""
    values = (rgb + 1) / 2
    linear = torch.where(values > 0.04045, ((values.clamp(min=0) + 0.055) / 1.055) ** 2.4, values / 12.92)
    xyz = [part / white for part, white in zip(_matmul(linear, _TO_XYZ), _WHITE, strict=True)]
    x, y, z = (torch.where(v > _KNEE**3, v.clamp(min=1e-9) ** (1 / 3), v / (3 * _KNEE**2) + 4 / 29) for v in xyz)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert L, a, b as (N, 3, H, W) to sRGB in [-1, 1]; colors outside sRGB are clipped."""
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    parts = [torch.where(v > _KNEE, v**3, 3 * _KNEE**2 * (v - 4 / 29)) for v in (y + a / 500, y, y - b / 200)]
    xyz = [part * white for part, white in zip(parts, _WHITE, strict=True)]
    linear = torch.stack(_matmul(torch.stack(xyz, 1), _FROM_XYZ), 1).clamp(0, 1)
    values = torch.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, linear * 12.92)
    return values * 2 - 1


def _matmul(image: Tensor, matrix: tuple[tuple[float, ...], ...]) -> list[Tensor]:
    """Multiply each pixel by a 3x3 matrix, without `torch.matmul`, which may use TF32 on GPUs."""
    red, green, blue = image.unbind(1)
    return [r * red + g * green + b * blue for r, g, b in matrix]
