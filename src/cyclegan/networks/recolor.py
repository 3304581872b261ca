"""Generators that recolor their input, pixel by pixel, and paint over it: for domains that are close to each other.

A network returns for each pixel a matrix A and a color c: G(x) = tanh(A x + c). The matrix keeps every detail of the
input without the network having to redraw it; local affine maps of colors are those of Gharbi et al., "Deep bilateral
learning for real-time image enhancement", ACM TOG (SIGGRAPH) 2017, section 3. It starts at 0.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn

from cyclegan.config.schema import NetworkConfig
from cyclegan.networks.generator import ColorSpaceGenerator
from cyclegan.networks.registry import register_generator
from cyclegan.networks.space_to_depth import SpaceToDepthGenerator


@register_generator("recolor", "{blocks}-block space-to-depth network of color matrices")
@register_generator("recolor_4", "{blocks}-block space-to-depth network of color matrices for 4×4 pixels", factor=4)
class RecolorGenerator(ColorSpaceGenerator):
    """Images (N, C, H, W) in [-1, 1] to (N, C', H, W), by a network to C' + C' C channels without bounds."""

    initializes_itself = True

    def __init__(self, network: SpaceToDepthGenerator, in_channels: int, out_channels: int):
        super().__init__(network)
        self.in_channels, self.out_channels = in_channels, out_channels
        network.zero_outputs(out_channels)

    @classmethod
    def from_config(cls, config: NetworkConfig, in_channels: int, out_channels: int, **settings: Any) -> Self:
        """Build it on a space-to-depth network."""
        inner = out_channels * (1 + in_channels)
        network = SpaceToDepthGenerator.from_config(config, in_channels, inner, bounded=False, **settings)
        return cls(network, in_channels, out_channels)

    def decode(self, x: Tensor, y: Tensor) -> Tensor:
        """The recolored image, from the colors and matrices."""
        color, matrix = torch.split(y.to(x), [self.out_channels, self.out_channels * self.in_channels], 1)
        rows = torch.unflatten(matrix, 1, (self.out_channels, self.in_channels))
        return torch.tanh(color + (rows * x[:, None]).sum(2))

    def encoder(self) -> list[nn.Module]:
        """The network's."""
        return [*self.network.encoder()]
