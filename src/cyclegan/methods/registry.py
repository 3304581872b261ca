"""Methods by name: this package's, and those of other packages by the entry point group ``cyclegan.methods``.

An entry point's name is the method's name, and its value the module (or ``module:Class``) whose import registers it.
Nothing here loads torch; `method_class` and `build_method` do so when they import the method's module.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, TypeVar

from cyclegan.config.schema import Config
from cyclegan.config.validation import validate
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.methods.specs import BUILTIN, Layout, MethodSpec
from cyclegan.networks.registry import DISCRIMINATORS, GENERATORS
from cyclegan.system.plugins import load_plugin, plugin_names

if TYPE_CHECKING:
    from cyclegan.methods.method import Method

GROUP = "cyclegan.methods"

_specs: dict[str, MethodSpec] = dict(BUILTIN)
_classes: dict[str, type[Method]] = {}
M = TypeVar("M", bound="type[Method]")


def register_method(*specs: MethodSpec) -> Callable[[M], M]:
    """Class decorator: the class implements these methods, under ``--method <spec.name>``."""

    def register(cls: M) -> M:
        for spec in specs:
            _specs[spec.name], _classes[spec.name] = spec, cls
        return cls

    return register


def method_names() -> list[str]:
    """The names of all methods, this package's first. Imports no method."""
    return list(dict.fromkeys([*_specs, *plugin_names(GROUP)]))


def method_spec(name: str) -> MethodSpec:
    """The spec of a method; another package's module is imported for it. Raises `UsageError` for an unknown name."""
    if name not in _specs:
        if not load_plugin(GROUP, name):
            raise UsageError(f"--method is {name!r}; it must be one of {', '.join(method_names())}.")
        if name not in _specs:
            raise CycleGANError(f"The entry point {name} of {GROUP} registers no method of that name.")
    return _specs[name]


def method_class(name: str) -> type[Method]:
    """The class of a method, imported when first needed. Raises `UsageError` for an unknown name."""
    spec = method_spec(name)
    if name not in _classes:
        import_module(spec.module)
    return _classes[name]


def names_by_layout(layout: Layout) -> list[str]:
    """This package's methods that learn from such data, for advice."""
    return [spec.name for spec in BUILTIN.values() if spec.layout == layout]


def build_method(config: Config, seed: int) -> Method:
    """The configured method, its weights drawn from torch's global generator, its history from `seed`."""
    channels = (config.data.channels_a, config.data.channels_b)
    return method_class(config.loss.method)(config.networks, config.loss, channels, seed)


def validate_method(config: Config) -> Config:
    """As `validate`, and also checks what the method requires. Raises `UsageError` for the first contradiction."""
    config = validate(config)
    for registry, name in ((GENERATORS, config.networks.generator), (DISCRIMINATORS, config.networks.discriminator)):
        if name not in registry.names():
            raise UsageError(f"--{registry.kind} is {name!r}; it must be one of {', '.join(registry.names())}.")
    spec, data = method_spec(config.loss.method), config.data
    if spec.layout != "single domain" and (data.a is None) != (data.b is None):
        missing, given = ("b", "a") if data.a else ("a", "b")
        raise UsageError(f"--{given} needs --{missing}: one folder for each domain.")
    if config.loss.direction == "BtoA" and "direction" not in spec.loss_settings:
        raise UsageError(f"--direction does not apply to --method {spec.name}, which has no choice of direction.")
    for sentence in spec.contradictions(config):
        raise UsageError(sentence)
    return config
