"""The contract of discriminators."""

from typing import Any, Self

from torch import nn

from cyclegan.config.schema import NetworkConfig
from cyclegan.networks.layers import initialize
from cyclegan.networks.registry import DISCRIMINATORS


class Discriminator(nn.Module):
    """Images (N, in_channels, H, W) to logits (N, K, h, w), K for each patch (1 of most), without a sigmoid."""

    min_size: int = 1  # pixels of the smallest images

    @classmethod
    def from_config(cls, config: NetworkConfig, in_channels: int, **settings: Any) -> Self:
        """Build the network; `settings` are those fixed by the name under which it is registered."""
        return cls(in_channels, **({"width": config.discriminator_width, "norm": config.norm} | settings))


def build_discriminator(config: NetworkConfig, in_channels: int) -> Discriminator:
    """The configured discriminator, newly initialized."""
    architecture = DISCRIMINATORS[config.discriminator]
    network = architecture.network.from_config(config, in_channels, **architecture.settings)
    initialize(network, config.init, config.init_gain)
    return network
