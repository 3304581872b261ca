"""Extensions by other packages, found by their entry points."""

from typing import Any

from cyclegan.errors import CycleGANError


def plugin_names(group: str) -> tuple[str, ...]:
    """Names of the entry points of a group, such as ``cyclegan.methods``. Imports nothing."""
    from importlib.metadata import entry_points  # takes 40 ms, which most help pages do not need

    return tuple(entry_points(group=group).names)


def load_plugin(group: str, name: str) -> Any:
    """Import the module or object of an entry point; None if there is no such entry point.

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
