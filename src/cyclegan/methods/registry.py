"""Methods by name: this package's, and those of other packages by the entry point group ``cyclegan.methods``.

An entry point's name is the method's name, and its value the module (or ``module:Class``) whose import registers it.
Nothing here loads torch.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from cyclegan.config.schema import Config
from cyclegan.config.validation import validate
from cyclegan.errors import UsageError
from cyclegan.methods.specs import BUILTIN, Layout, MethodSpec
from cyclegan.networks.registry import DISCRIMINATORS, GENERATORS
from cyclegan.system.plugins import Registry

M = TypeVar("M", bound="type[Any]")
METHODS: Registry[tuple[MethodSpec, type[Any]]] = Registry(  # subclasses of `Method`
    "method", "cyclegan.methods", {name: spec.module for name, spec in BUILTIN.items()}
)


def register_method(*specs: MethodSpec) -> Callable[[M], M]:
    """Class decorator: the class implements these methods, under ``--method <spec.name>``."""

    def register(cls: M) -> M:
        METHODS.values.update((spec.name, (spec, cls)) for spec in specs)
        return cls

    return register


def method_spec(name: str) -> MethodSpec:
    """The spec of a method; another package's module is imported for it. Raises `UsageError` for an unknown name."""
    return BUILTIN[name] if name in BUILTIN else METHODS[name][0]


def names_by_layout(layout: Layout) -> list[str]:
    """This package's methods that learn from such data, for advice."""
    return [spec.name for spec in BUILTIN.values() if spec.layout == layout]


def validate_method(config: Config) -> Config:
    """As `validate`, and also checks what the method requires. Raises `UsageError` for the first contradiction."""
    config = validate(config)
    GENERATORS.check(config.networks.generator)
    DISCRIMINATORS.check(config.networks.discriminator)
    spec, data = method_spec(config.loss.method), config.data
    if spec.layout != "single domain" and (data.a is None) != (data.b is None):
        missing, given = ("b", "a") if data.a else ("a", "b")
        raise UsageError(f"--{given} needs --{missing}: one folder for each domain.")
    if config.loss.direction == "BtoA" and "direction" not in spec.loss_settings:
        raise UsageError(f"--direction does not apply to --method {spec.name}, which has no choice of direction.")
    for option, setting, is_used in (
        ("--pairs", "lambda_pairs", data.pairs is not None),
        ("--lambda-pairs-gan", "lambda_pairs_gan", config.loss.lambda_pairs_gan > 0),
        ("--masks", "masks", config.loss.masks != "off"),
        ("--labels", "labels", config.loss.labels),
        ("--structure", "structure", config.loss.structure != "off"),
    ):
        if is_used and setting not in spec.loss_settings:
            names = [name for name, each in BUILTIN.items() if setting in each.loss_settings]
            alone = ", which learns from pairs alone" * (spec.layout == "paired" and option == "--pairs")
            raise UsageError(f"{option} does not apply to --method {spec.name}{alone}; use {' or '.join(names)}.")
    if config.loss.lambda_pairs_gan > 0 and data.pairs is None:
        raise UsageError("--lambda-pairs-gan is the weight of a loss on pairs; add --pairs FOLDER.")
    if config.loss.masks != "off" and data.channels_a != data.channels_b:
        raise UsageError("--masks keeps a part of the input, so --channels-a and --channels-b must be equal.")
    if config.loss.labels and data.channels_a != data.channels_b:
        raise UsageError("--labels reads images of both domains, so --channels-a and --channels-b must be equal.")
    for sentence in spec.contradictions(config):
        raise UsageError(sentence)
    return config
