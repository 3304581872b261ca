"""What makes a training step fast on the device at hand: math modes, memory format, compiled networks."""

import torch
from torch import Tensor, nn

from cyclegan.config.schema import Config
from cyclegan.errors import first_line
from cyclegan.methods.method import Method
from cyclegan.networks.generator import ColorSpaceGenerator
from cyclegan.networks.projected import FrozenFeatures


def set_math_modes(device: torch.device, config: Config) -> None:
    """On CUDA: TF32 for single precision, and the fastest algorithm for each convolution if sizes do not change."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = config.data.preprocess.endswith("crop")
        torch.set_float32_matmul_precision("high")  # cuDNN's convolutions use TF32 anyway


def runs_channels_last(config: Config, device: torch.device) -> bool:
    """Whether to train with channels last: on request, and on CPUs, where it is faster by `networks.channels_last`.

    The gradients of that cannot be differentiated again, as the penalty of WGAN-GP requires.
    """
    on_cpu = device.type == "cpu"
    if on_cpu and config.loss.objective == "wgangp":
        return False
    return config.run.channels_last or (on_cpu and config.run.winograd and not config.run.compile)


def slow_precision(precision: str, device: torch.device, supported: bool | None) -> str | None:
    """A sentence if the CPU only emulates the precision; `supported` is `cpu_has_bfloat16`'s result."""
    if device.type != "cpu" or precision != "bf16-mixed" or supported is not False:
        return None
    return "This CPU has no instructions for bfloat16 (AVX512-BF16 or AMX): --precision 32-true is faster here."


def compile_networks(method: Method, images: dict[str, Tensor]) -> str | None:
    """Compile the networks by torch.compile, or return a sentence why they are not.

    `images` (N, C, H, W), by domain, have the size of training crops. One network translates them first, to see
    whether the compiler works here.
    """
    direction = method.spec.learned(method.settings)[0]
    generator = method.generators[method.spec.directions[direction]]
    try:
        torch.compile(generator, dynamic=False)(images[direction[0]]).sum().backward()
    except Exception as error:  # compilers raise nearly anything
        return f"The networks are not compiled, since torch.compile fails here: {first_line(error)}"
    finally:
        method.zero_grad()
    networks: list[nn.Module] = list(method.generators.values())
    if method.settings.objective != "wgangp":  # compiled networks have no second derivatives, as its penalty needs
        networks += method.discriminators.values()
    for module in method.modules():  # whose compiled gradients are wrong on CPUs with torch 2.13
        if isinstance(module, FrozenFeatures):
            module.forward = torch.compiler.disable(module.forward)  # type: ignore[method-assign,no-untyped-call]
    for network in networks:  # training calls the network within a color space
        (network.network if isinstance(network, ColorSpaceGenerator) else network).compile(dynamic=False)
    return None
