"""A small network that reads the class of each pixel, trained alongside the generators."""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

WIDTHS = (32, 64, 128)  # channels at full, half and quarter resolution


class Segmenter(nn.Module):
    """Images (N, in_channels, H, W) of any size from 8x8 to logits (N, classes, H, W), by a U-Net of three levels."""

    min_size = 8

    def __init__(self, in_channels: int, classes: int):
        super().__init__()
        full, half, quarter = WIDTHS
        self.first, self.down, self.deepest = (
            _layer(before, after, stride)
            for before, after, stride in ((in_channels, full, 1), (full, half, 2), (half, quarter, 2))
        )
        self.up, self.last = _layer(quarter + half, half, 1), _layer(half + full, full, 1)
        self.head = nn.Conv2d(full, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        full = self.first(x)
        half = self.down(full)
        y = self.deepest(half)
        for layer, skip in ((self.up, half), (self.last, full)):
            y = layer(torch.cat([interpolate(y, skip.shape[-2:], mode="bilinear"), skip], 1))
        logits: Tensor = self.head(y)
        return logits


def _layer(before: int, after: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(before, after, 3, stride, 1, padding_mode="replicate")
    return nn.Sequential(conv, nn.InstanceNorm2d(after), nn.LeakyReLU(0.2))
