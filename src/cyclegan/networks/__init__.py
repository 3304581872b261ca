"""Architectures by name. They know nothing of losses, data or devices."""

from collections.abc import Callable
from functools import partial

from torch import nn

from cyclegan.config.schema import NetworkConfig
from cyclegan.networks.layers import Dropout, initialize
from cyclegan.networks.patchgan import PatchGAN, PixelGAN
from cyclegan.networks.resnet import ResidualBlock, ResNetGenerator, SeparableResidualBlock
from cyclegan.networks.unet import UNetGenerator

__all__ = [
    "DISCRIMINATORS",
    "GENERATORS",
    "PatchGAN",
    "PixelGAN",
    "ResNetGenerator",
    "ResidualBlock",
    "SeparableResidualBlock",
    "UNetGenerator",
    "build_discriminator",
    "build_generator",
]

GENERATORS: dict[str, Callable[[NetworkConfig], Callable[..., nn.Module]]] = {
    "resnet_9blocks": lambda c: partial(ResNetGenerator, antialias=c.antialias, blocks=9),
    "resnet_6blocks": lambda c: partial(ResNetGenerator, antialias=c.antialias, blocks=6),
    "resnet": lambda c: partial(ResNetGenerator, antialias=c.antialias, blocks=c.blocks),
    "resnet_light": lambda c: partial(
        ResNetGenerator, antialias=c.antialias, blocks=c.blocks, block=SeparableResidualBlock
    ),
    "unet_256": lambda c: partial(UNetGenerator, levels=8),
    "unet_128": lambda c: partial(UNetGenerator, levels=7),
    "unet_64": lambda c: partial(UNetGenerator, levels=6),
}

DISCRIMINATORS: dict[str, Callable[[NetworkConfig], Callable[..., nn.Module]]] = {
    "basic": lambda c: partial(PatchGAN, antialias=c.antialias, layers=3),
    "n_layers": lambda c: partial(PatchGAN, antialias=c.antialias, layers=c.discriminator_layers),
    "pixel": lambda c: PixelGAN,
}


def build_generator(config: NetworkConfig, in_channels: int, out_channels: int) -> nn.Module:
    """The configured generator, (N, in_channels, H, W) to (N, out_channels, H, W), with weights drawn anew."""
    make = GENERATORS[config.generator](config)
    network = make(in_channels, out_channels, width=config.generator_width, norm=config.norm, dropout=config.dropout)
    initialize(network, config.init, config.init_gain)
    if config.dropout_at_test:
        for seed, layer in enumerate(m for m in network.modules() if isinstance(m, Dropout)):
            layer.noise_seed = seed
    return network


def build_discriminator(config: NetworkConfig, in_channels: int) -> nn.Module:
    """The configured discriminator, (N, in_channels, H, W) to (N, 1, h, w) logits, with weights drawn anew."""
    make = DISCRIMINATORS[config.discriminator](config)
    network = make(in_channels, width=config.discriminator_width, norm=config.norm)
    initialize(network, config.init, config.init_gain)
    return network
