"""Optimisers' states as tensors by name and plain numbers, so that no checkpoint needs pickle."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

StateDict = dict[str, Any]


def flatten(states: Sequence[StateDict]) -> tuple[dict[str, Tensor], list[Any]]:
    """State dicts to tensors named "optimiser.parameter.quantity" and the parameter groups."""
    tensors = {
        f"{number}.{parameter}.{quantity}": value
        for number, state in enumerate(states)
        for parameter, quantities in state["state"].items()
        for quantity, value in quantities.items()
    }
    return tensors, [state["param_groups"] for state in states]


def unflatten(tensors: dict[str, Tensor], groups: Sequence[Any]) -> list[StateDict]:
    """The inverse of `flatten`."""
    states: list[StateDict] = [{"state": {}, "param_groups": group} for group in groups]
    for name, value in tensors.items():
        number, parameter, quantity = name.split(".")
        states[int(number)]["state"].setdefault(int(parameter), {})[quantity] = value
    return states
