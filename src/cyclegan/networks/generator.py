"""The contract of generators, on which translation, streaming, the CPU rewriting and exports rely."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

from torch import Tensor, nn

from cyclegan.config.schema import NetworkConfig
from cyclegan.networks.layers import Dropout, initialize, pad_to_multiple
from cyclegan.networks.registry import GENERATORS


class Generator(nn.Module):
    """Images (N, in_channels, H, W) in [-1, 1] of any H and W to (N, out_channels, H, W) in [-1, 1].

    A subclass defines either `stages`, or `forward` for a network that can only run on whole images. With stages,
    sizes that are not multiples of `size_multiple`, or smaller than `min_size`, are extended by reflection, and the
    result is cropped.
    """

    size_multiple: int = 1
    min_size: int = 1
    initializes_itself: bool = False  # whether it keeps the weights of its constructor, whatever --init says

    @classmethod
    def from_config(cls, config: NetworkConfig, in_channels: int, out_channels: int, **settings: Any) -> Self:
        """Build the network; `settings` are those fixed by the name under which it is registered."""
        given = {"width": config.generator_width, "norm": config.norm, "dropout": config.dropout}
        return cls(in_channels, out_channels, **(given | settings))

    def stages(self) -> Sequence[nn.Module] | None:
        """The network as parts to apply in turn, or None if it is not a sequence.

        Parts made of the layers that `translation.streaming.executor` lists can be streamed, and rewritten for CPUs.
        """
        return None

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch."""
        stages = self.stages()
        if stages is None:
            raise NotImplementedError(f"{type(self).__name__} must define stages() or forward().")
        height, width = x.shape[-2:]
        y = pad_to_multiple(x, self.size_multiple, self.min_size)
        for stage in stages:
            y = stage(y)
        return y[..., :height, :width]

    def encoder(self) -> Sequence[nn.Module]:
        """The first layers, in order, whose outputs contrastive methods compare; empty if there are none."""
        return ()

    def features(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Outputs of these layers of the `encoder`, in ascending order, for a batch."""
        y, found = pad_to_multiple(x, self.size_multiple, self.min_size), []
        for number, layer in enumerate(self.encoder()[: layers[-1] + 1]):
            y = layer(y)
            if number in layers:
                found.append(y)
        return found

    def visible_input(self, x: Tensor) -> Tensor:
        """The part of images (N, C, H, W) that the generator uses, as images."""
        return x

    def map_network(self, change: "Callable[[Generator], Generator]") -> "Generator":
        """The generator with `change` applied to the network itself, within any `ColorSpaceGenerator`."""
        return change(self)


class ColorSpaceGenerator(Generator):
    """A network in another color space, or whose output changes its input, pixel by pixel."""

    in_channels: int  # of the network
    out_channels: int  # of the result

    def __init__(self, network: Generator):
        super().__init__()
        self.network = network
        self.size_multiple, self.min_size = network.size_multiple, network.min_size

    def encode(self, x: Tensor) -> Tensor:
        """The network's input from images; the images themselves unless a subclass converts them."""
        return x

    def decode(self, x: Tensor, y: Tensor) -> Tensor:
        """The result from images and the network's output for them."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch."""
        return self.decode(x, self.network(self.encode(x)))

    def map_network(self, change: Callable[[Generator], Generator]) -> Generator:
        """A copy that shares all but the network."""
        other = copy.copy(self)
        other._modules = {**self._modules, "network": self.network.map_network(change)}
        return other


class ModuleGenerator(Generator):
    """Any module from images to images, as a generator that runs on whole images."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch."""
        y: Tensor = self.module(x)
        return y


def as_generator(module: nn.Module) -> Generator:
    """The module itself if it is a `Generator`, else wrapped in one."""
    return module if isinstance(module, Generator) else ModuleGenerator(module)


def build_generator(config: NetworkConfig, in_channels: int, out_channels: int) -> Generator:
    """The configured generator, (N, in_channels, H, W) to (N, out_channels, H, W), newly initialized."""
    architecture = GENERATORS[config.generator]
    network = architecture.network.from_config(config, in_channels, out_channels, **architecture.settings)
    if not network.initializes_itself:
        initialize(network, config.init, config.init_gain)
    if config.dropout_at_test:
        for seed, layer in enumerate(m for m in network.modules() if isinstance(m, Dropout)):
            layer.noise_seed = seed
    return network
