"""What other packages add to this one, by entry points."""

from importlib.metadata import entry_points

from cyclegan.errors import CycleGANError


def plugin_names(group: str) -> tuple[str, ...]:
    """Names of the entry points of a group, such as ``cyclegan.methods``. Imports nothing."""
    return tuple(entry_points(group=group).names)


def load_plugin(group: str, name: str) -> bool:
    """Import the module that an entry point names; it registers itself. Returns whether there is such an entry point.

    Raises `CycleGANError` when the import fails.
    """
    for found in entry_points(group=group, name=name):
        try:
            found.load()
        except Exception as error:  # another package's code may raise anything
            raise CycleGANError(
                f"{name} of {group} cannot be loaded from {found.value}: {type(error).__name__}: {error}"
            ) from error
        return True
    return False
