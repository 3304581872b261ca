"""Registries of values by name, which other packages extend by entry points."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Generic, TypeVar

from cyclegan.errors import CycleGANError, UsageError

V = TypeVar("V")


def plugin_names(group: str) -> tuple[str, ...]:
    """Names of the entry points of a group, such as ``cyclegan.methods``. Imports nothing."""
    from importlib.metadata import entry_points  # takes 40 ms, which most help pages do not need

    return tuple(entry_points(group=group).names)


def load_plugin(group: str, name: str) -> Any:
    """Import the module or object of an entry point; None if the group has no entry point of that name.

    Raises `CycleGANError` when the import fails.
    """
    from importlib.metadata import entry_points

    for found in entry_points(group=group, name=name):
        try:
            return found.load()
        except Exception as error:  # another package's code may raise anything
            raise CycleGANError(
                f"{name} of {group} cannot be loaded from {found.value}: {type(error).__name__}: {error}"
            ) from error
    return None


class Registry(Generic[V]):
    """The values of an option by name, each registered by a module that is imported when first needed.

    `modules` are this package's by name. Those of other packages are entry points of `group`, by the same names.
    """

    def __init__(self, option: str, group: str, modules: Mapping[str, str]):
        self.option, self.group, self.modules = option, group, modules
        self.values: dict[str, V] = {}

    def names(self) -> list[str]:
        """All names, this package's first. Imports nothing."""
        return list(dict.fromkeys([*self.modules, *self.values, *plugin_names(self.group)]))

    def check(self, name: str) -> None:
        """Raise `UsageError` for an unknown name. Imports nothing."""
        if not (name in self.modules or name in self.values or name in plugin_names(self.group)):
            raise UsageError(f"--{self.option} is {name!r}; it must be one of {', '.join(self.names())}.")

    def __getitem__(self, name: str) -> V:
        """The value of that name. Raises `UsageError` for an unknown name."""
        self.check(name)
        if name not in self.values:
            if name in self.modules:
                import_module(self.modules[name])
            else:
                load_plugin(self.group, name)
        if name not in self.values:
            raise CycleGANError(f"The entry point {name} of {self.group} does not register --{self.option} {name}.")
        return self.values[name]
