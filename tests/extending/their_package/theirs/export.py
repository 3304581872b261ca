"""Weights as NumPy arrays, for frameworks such as JAX and MLX."""

import copy
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cyclegan.translation.export_formats import ExportJob, Format, register_format


def write(job: ExportJob, path: Path) -> None:
    """Write the generator's weights by name, in float16 with --half."""
    weights = job.module.state_dict()
    np.savez(path, **{name: tensor.numpy() for name, tensor in weights.items()})


def reopen(job: ExportJob, path: Path) -> nn.Module:
    """The generator with the weights from the file, to compare it with the original."""
    module = copy.deepcopy(job.module)
    with np.load(path) as arrays:
        module.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
    return module


register_format("npz", Format(write, reopen, suffix=".npz", fixed_size=False, usage="Load it with numpy.load."))
