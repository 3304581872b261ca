"""What is optimized: one file a method. A method knows nothing of files, devices or logging."""

from cyclegan.config.schema import Config
from cyclegan.methods.colorization import Colorization
from cyclegan.methods.cut import CUT
from cyclegan.methods.cyclegan import CycleGAN
from cyclegan.methods.method import Method
from cyclegan.methods.pix2pix import Pix2Pix

METHODS: dict[str, type[Method]] = {
    "cyclegan": CycleGAN,
    "pix2pix": Pix2Pix,
    "colorization": Colorization,
    "cut": CUT,
    "fastcut": CUT,
}


def build_method(config: Config, seed: int) -> Method:
    """The configured method, its weights drawn from torch's generator, its histories from `seed`."""
    channels = (config.data.channels_a, config.data.channels_b)
    method = METHODS[config.loss.method](config.networks, config.loss, channels, seed)
    method.augment()
    return method
