"""The largest batch size that fits on the GPU, for ``--batch-size 0``."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from lightning_fabric import Fabric

from cyclegan.config.schema import Config
from cyclegan.system.machine import gpu_memory, peak_memory
from cyclegan.training.step import TrainState, batch_shapes

USABLE = 0.85  # of a GPU's memory: the rest is for the libraries' workspace, and for fragments


def fit_batch_size(
    config: Config, memory: float | None = None, measure: Callable[[Config], float] | None = None
) -> Config:
    """The configuration with the largest power of two as batch size that fits on the GPU; on a CPU, 1.

    Learning rates that the user did not give are multiplied by the square root of the batch size (Malladi et al. 2022,
    for Adam). `memory` is the GPU's unless given, and `measure` gives the peak memory of a step; both in GiB.
    """
    memory = gpu_memory(config.run.device) if memory is None else memory
    size, reason = 1, "batch size 0, on a CPU"
    if memory is not None:
        one, two = ((measure or peak_of_step)(config.with_settings(batch_size=n)) for n in (1, 2))
        images = 1 + (USABLE * memory - one) / max(two - one, 0.01)
        size, reason = 2 ** int(math.log2(max(1.0, images))), f"batch size 0, in {memory:.0f} GiB"
    changed: dict[str, Any] = {"batch_size": size}
    for name in ("learning_rate", "discriminator_learning_rate"):
        rate = getattr(config.optimizer, name)
        if size > 1 and rate is not None and config.sources.get(name) != "user":
            changed[name] = rate * math.sqrt(size)
    return replace(config, sources=config.sources | dict.fromkeys(changed, reason)).with_settings(**changed)


def peak_of_step(config: Config) -> float:
    """The peak memory of a training step on gray images on the first GPU, in GiB."""
    state = TrainState(config, Fabric(accelerator=config.run.device, devices=1, precision=config.run.precision))
    device = state.fabric.device
    torch.cuda.reset_peak_memory_stats(device)
    state.train_step([{name: torch.zeros(shape, device=device) for name, shape in batch_shapes(config).items()}])
    return peak_memory(device)
