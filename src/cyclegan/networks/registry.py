"""Architectures by name, readable without loading torch.

Other packages add generators by the entry point group ``cyclegan.generators`` and discriminators by
``cyclegan.discriminators``: the entry point's name is the architecture's, its value the module whose import registers
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cyclegan.config.schema import NetworkConfig
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.system.plugins import load_plugin, plugin_names

if TYPE_CHECKING:
    from cyclegan.networks.discriminator import Discriminator
    from cyclegan.networks.generator import Generator

N = TypeVar("N")
T = TypeVar("T", bound="type[Any]")


@dataclass(frozen=True)
class Architecture(Generic[N]):
    """A class of networks with some of its settings fixed; `description` may name fields of `NetworkConfig`."""

    network: type[N]
    description: str  # such as "{blocks}-block ResNet"
    settings: dict[str, Any]

    def describe(self, config: NetworkConfig) -> str:
        """The architecture in words: "9-block ResNet"."""
        return self.description.format(**vars(config))


class Registry(Generic[N]):
    """Architectures of one kind, by their names on the command line."""

    def __init__(self, kind: str, modules: dict[str, str]):
        self.kind, self.group = kind, f"cyclegan.{kind}s"
        self._modules = modules  # name -> module of this package that registers it
        self._architectures: dict[str, Architecture[N]] = {}

    def register(self, name: str, description: str, **settings: Any) -> Callable[[T], T]:
        """Class decorator: `--generator name` builds this class by its `from_config`, with these settings."""

        def decorate(cls: T) -> T:
            self._architectures[name] = Architecture(cls, description, settings)
            return cls

        return decorate

    def names(self) -> list[str]:
        """All names, this package's first. Imports no network."""
        return list(dict.fromkeys([*self._modules, *self._architectures, *plugin_names(self.group)]))

    def __getitem__(self, name: str) -> Architecture[N]:
        """The architecture of that name, imported when first needed. Raises `UsageError` for an unknown name."""
        if name not in self._architectures:
            if name in self._modules:
                import_module(self._modules[name])
            elif not load_plugin(self.group, name):
                raise UsageError(f"--{self.kind} is {name!r}; it must be one of {', '.join(self.names())}.")
        if name not in self._architectures:
            raise CycleGANError(f"The entry point {name} of {self.group} registers no {self.kind} of that name.")
        return self._architectures[name]


_RESNET, _UNET, _PATCHGAN = (f"cyclegan.networks.{name}" for name in ("resnet", "unet", "patchgan"))
GENERATORS: Registry[Generator] = Registry(
    "generator",
    {
        **dict.fromkeys(("resnet_9blocks", "resnet_6blocks", "resnet", "resnet_light"), _RESNET),
        **dict.fromkeys(("unet_256", "unet_128", "unet_64"), _UNET),
        "space_to_depth": "cyclegan.networks.space_to_depth",
    },
)
DISCRIMINATORS: Registry[Discriminator] = Registry(
    "discriminator", dict.fromkeys(("basic", "n_layers", "pixel"), _PATCHGAN)
)
register_generator, register_discriminator = GENERATORS.register, DISCRIMINATORS.register
