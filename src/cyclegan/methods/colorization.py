"""Colorization: pix2pix from lightness to color, in the color space Lab [P 4, "BW -> color"; R].

x is the lightness L of an image, y its colors a and b. Images are RGB everywhere else: `LabGenerator` converts them.
Input images may be gray or in color; their lightness is kept.
"""

from typing import cast

from torch import Tensor, nn

from cyclegan.config.schema import Direction, LossConfig, NetworkConfig
from cyclegan.methods.method import Batch, Images, RealFake
from cyclegan.methods.pix2pix import Pix2Pix
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import COLORIZATION
from cyclegan.networks.generator import Generator, build_generator
from cyclegan.networks.lab import LabGenerator, split_lab


@register_method(COLORIZATION)
class Colorization(Pix2Pix):
    """pix2pix with x = L (one channel) and y = ab (two). A and B of a batch are the same RGB images."""

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__(networks, loss, (1, 2), seed)
        self.generators["G"] = LabGenerator(cast(Generator, self.generators["G"]))

    @classmethod
    def build_generator(cls, networks: NetworkConfig, in_channels: int, out_channels: int) -> Generator:
        """From RGB to RGB images."""
        return LabGenerator(build_generator(networks, 1, 2))

    @property
    def G(self) -> nn.Module:
        """The network from L to ab."""
        return cast(LabGenerator, self.generators["G"]).network

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """L and ab."""
        return split_lab(batch["B"])

    def discriminator_inputs(self, batch: Batch, images: Images) -> dict[Direction, RealFake]:
        """(L, ab) and (L, G(L)), from translations in RGB."""
        return super().discriminator_inputs(batch, {"B": split_lab(images["B"])[1]})
