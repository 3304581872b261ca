"""Architectures by name, readable without loading torch.

Other packages add generators by the entry point group ``cyclegan.generators`` and discriminators by
``cyclegan.discriminators``: the entry point's name is the architecture's, its value the module whose import registers
it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from cyclegan.config.schema import NetworkConfig
from cyclegan.system.plugins import Registry

T = TypeVar("T", bound="type[Any]")


@dataclass(frozen=True)
class Architecture:
    """A class of networks with some of its settings fixed; `description` may name fields of `NetworkConfig`."""

    network: type[Any]  # a subclass of `Generator` or `Discriminator`
    description: str  # such as "{blocks}-block ResNet"
    settings: dict[str, Any]

    def describe(self, config: NetworkConfig) -> str:
        """The architecture in words: "9-block ResNet"."""
        return self.description.format(**vars(config))


_RESNET, _UNET, _PATCHGAN = (f"cyclegan.networks.{name}" for name in ("resnet", "unet", "patchgan"))
GENERATORS: Registry[Architecture] = Registry(
    "generator",
    "cyclegan.generators",
    {
        **dict.fromkeys(("resnet_9blocks", "resnet_6blocks", "resnet", "resnet_light"), _RESNET),
        **dict.fromkeys(("unet_256", "unet_128", "unet_64"), _UNET),
        **dict.fromkeys(
            ("space_to_depth", "space_to_depth_photo", "space_to_depth_4"), "cyclegan.networks.space_to_depth"
        ),
        **dict.fromkeys(("recolor", "recolor_4"), "cyclegan.networks.recolor"),
        **dict.fromkeys(("attention", "attention_4", "attention_resnet"), "cyclegan.networks.attention"),
    },
)
DISCRIMINATORS: Registry[Architecture] = Registry(
    "discriminator",
    "cyclegan.discriminators",
    {
        **dict.fromkeys(("basic", "n_layers", "dual", "pixel"), _PATCHGAN),
        "projected": "cyclegan.networks.projected",
    },
)


def _register(registry: Registry[Architecture], name: str, description: str, **settings: Any) -> Callable[[T], T]:
    """Class decorator: ``--generator name`` builds this class by its `from_config`, with these settings."""

    def decorate(cls: T) -> T:
        registry.values[name] = Architecture(cls, description, settings)
        return cls

    return decorate


register_generator, register_discriminator = partial(_register, GENERATORS), partial(_register, DISCRIMINATORS)
