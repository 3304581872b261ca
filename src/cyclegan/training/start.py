"""Starting a training with the networks of a model or of another run, such as imported ones."""

from pathlib import Path
from typing import Any

from torch import Tensor

from cyclegan.config import Config
from cyclegan.errors import UsageError
from cyclegan.methods import METHODS
from cyclegan.translation.model_folder import read_model


def architecture(path: Path) -> dict[str, Any]:
    """The settings of the networks of a model, run or checkpoint, by name. Raises as `read_model`."""
    return read_model(path).architecture


def starting_weights(config: Config) -> dict[str, Tensor]:
    """The weights that the configuration says to start with; none if it does not.

    Raises `UsageError` when they are of another method or architecture than configured.
    """
    path = config.networks.init_from
    if path is None:
        return {}
    model = read_model(path)
    if METHODS[model.method] is not METHODS[config.loss.method]:
        raise UsageError(f"{path} was made by the method {model.method}; add --method {model.method}.")
    mine = vars(config.networks) | vars(config.data) | vars(config.loss)
    for name, value in model.architecture.items():
        if mine[name] != value:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} {mine[name]} does not fit {path}, whose networks have {value}; leave it out.")
    return model.weights
