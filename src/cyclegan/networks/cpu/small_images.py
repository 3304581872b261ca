"""Convolutions of U-Nets at their deepest levels, on CPUs: matrix products with the weights as they are.

There, an image has a few pixels and a kernel millions of weights, which PyTorch rearranges for each image. That takes
several times as long as the products.
"""

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import fold, unfold

from cyclegan.networks.generator import Generator

MAX_PIXELS = 64  # of the lower resolution; with more, the copies of pixels cost more than they save


class SmallImageConv(nn.Module):
    """A convolution that halves or doubles the sides of images, as a matrix product if these are small."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d):
        super().__init__()
        self.conv = conv
        self.window: dict[str, Any] = {n: getattr(conv, n) for n in ("kernel_size", "stride", "padding")}
        self.halves = isinstance(conv, nn.Conv2d)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same as the convolution."""
        height, width = x.shape[2:]
        if self.halves:
            height, width = height // 2, width // 2
        if x.device.type != "cpu" or height * width > MAX_PIXELS:
            y: Tensor = self.conv(x)
            return y
        weights = self.conv.weight.flatten(1)  # a convolution's (O, C x K x K), transposed (C, O x K x K)
        if self.halves:  # pixels are the rows of the products: few rows are faster than few columns
            y = (unfold(x, **self.window).mT @ weights.T).mT.reshape(len(x), -1, height, width)
        else:
            y = fold((x.flatten(2).mT @ weights).mT, (2 * height, 2 * width), **self.window)
        return y if self.conv.bias is None else y + self.conv.bias[:, None, None]


def with_matrix_products(network: Generator) -> Generator:
    """A copy of a U-Net, with the same weights in memory, whose convolutions are `SmallImageConv`."""
    copied = copy.deepcopy(network, {id(p): p for p in (*network.parameters(), *network.buffers())})
    for module in list(copied.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                setattr(module, name, SmallImageConv(layer))
    return copied
