"""Conversion between sRGB and CIE L*a*b* (1976) on tensors, for D65 white and the 2 degree observer.

L is in [0, 100]; a (green to red) and b (blue to yellow) are 0 for grays, and within [-110, 110] for sRGB colors.
"""

import torch
from torch import Tensor

# ITU-R BT.709: linear sRGB to XYZ. Its row sums are the white point, so that grays map to a = b = 0.
_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_FROM_XYZ = tuple(map(tuple, torch.linalg.inv(torch.tensor(_TO_XYZ, dtype=torch.float64)).tolist()))
_WHITE = tuple(sum(row) for row in _TO_XYZ)
_KNEE = 6 / 29  # CIE's cube root is linear below its cube


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
