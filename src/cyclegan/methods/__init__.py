"""What is optimised: one file a method. A method knows nothing of files, devices or logging."""

from cyclegan.config import Config
from cyclegan.methods.cyclegan import CycleGAN
from cyclegan.methods.method import Method

METHODS: dict[str, type[Method]] = {"cyclegan": CycleGAN}


def build_method(config: Config, seed: int) -> Method:
    """The configured method, its weights drawn from torch's generator, its histories from `seed`."""
    channels = (config.data.channels_a, config.data.channels_b)
    return METHODS[config.loss.method](config.networks, config.loss, channels, seed)
