"""Checkpoints: folders of safetensors and one JSON file, each there whole or not at all.

A checkpoint holds ``config.toml``, ``weights.safetensors`` (all networks), ``ema.safetensors`` (averaged generators,
if averaging is on), ``optimizers.safetensors``, one ``process-N.safetensors`` for each process (its history of images
and its random state) and ``state.json`` with the numbers.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.system.atomic import replace_folder

LATEST, BEST = "latest", "best"
_OLDER = ".latest-older"


@dataclass
class Checkpoint:
    """Everything a training needs to go on as if it had never stopped."""

    config_toml: str
    weights: dict[str, Tensor]
    ema: dict[str, Tensor] | None
    optimizers: dict[str, Tensor]
    processes: list[dict[str, Tensor]]
    state: dict[str, Any] = field(default_factory=dict)


def save_latest(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write ``folder/latest``; a reader finds the old or the new one at every moment. Raises `CycleGANError`."""
    return _save_as(checkpoint, folder / LATEST)


def save_best(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write ``folder/best``, as `save_latest` does. Raises `CycleGANError`."""
    return _save_as(checkpoint, folder / BEST)


def _save_as(checkpoint: Checkpoint, place: Path) -> Path:
    try:
        replace_folder(place, lambda newer: _write(checkpoint, newer))
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CycleGANError(
            f"The checkpoint could not be written to {place} ({reason}); the one before it is kept."
        ) from None
    return place


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    (folder / "config.toml").write_text(checkpoint.config_toml, encoding="utf-8")
    _save(checkpoint.weights, folder / "weights.safetensors")
    if checkpoint.ema is not None:
        _save(checkpoint.ema, folder / "ema.safetensors")
    _save(checkpoint.optimizers, folder / "optimizers.safetensors")
    for number, process in enumerate(checkpoint.processes):
        _save(process, folder / f"process-{number}.safetensors")
    (folder / "state.json").write_text(json.dumps(checkpoint.state), encoding="utf-8")


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, path)


def keep_numbered_copy(folder: Path, step: int, keep: int) -> None:
    """Keep ``latest`` as ``step-NNNNNNN`` too (by hard links where possible), and only the newest `keep` of those.

    Numbered ones of this step and later are of a future that a resume from an older checkpoint has left; they go.
    """
    numbered = folder / f"step-{step:07d}"
    replace_folder(
        numbered, lambda new: shutil.copytree(folder / LATEST, new, copy_function=_link_or_copy, dirs_exist_ok=True)
    )
    for left in folder.glob("step-*"):
        if left.name > numbered.name:
            shutil.rmtree(left)
    if keep:
        for old in sorted(folder.glob("step-*"))[:-keep]:
            shutil.rmtree(old)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def latest_checkpoint(run: Path) -> Path | None:
    """The run's newest whole checkpoint, or None. A kill in the middle of writing leaves the one before."""
    for name in (LATEST, _OLDER):
        if (run / "checkpoints" / name / "state.json").exists():
            return run / "checkpoints" / name
    return None


def find_checkpoint(run: Path, name: str) -> Path:
    """A checkpoint of the run by its folder's name. Raises `UsageError` when it has none of that name."""
    folder = run / "checkpoints"
    there = sorted(path.parent.name for path in folder.glob("*/state.json") if not path.parent.name.startswith("."))
    if name not in there:
        raise UsageError(f"{run} has no checkpoint {name!r}; it has {', '.join(there) or 'none yet'}.")
    return folder / name


def load_checkpoint(folder: Path, process: int) -> Checkpoint:
    """Read a checkpoint, and of the processes' parts the one of `process`; none when there were fewer.

    Raises `CycleGANError` when files are missing or damaged.
    """
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        ema = folder / "ema.safetensors"
        return Checkpoint(
            config_toml=(folder / "config.toml").read_text(encoding="utf-8"),
            weights=load_file(folder / "weights.safetensors"),
            ema=load_file(ema) if ema.exists() else None,
            optimizers=load_file(folder / "optimizers.safetensors"),
            processes=[load_file(folder / f"process-{process}.safetensors")] if process < state["processes"] else [],
            state=state,
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CycleGANError(f"The checkpoint {folder} is damaged ({error}){other_checkpoint_hint(folder)}.") from None


def other_checkpoint_hint(damaged: Path) -> str:
    """The words with which a sentence about a damaged checkpoint names another one, if there is one."""
    others = sorted(path.name for path in damaged.parent.glob("step-*") if path.name != damaged.name)
    return f"; go on from another one with --checkpoint {others[-1]}" if others else ""


StateDict = dict[str, Any]


def flatten_optimizer_states(states: Sequence[StateDict]) -> tuple[dict[str, Tensor], list[Any]]:
    """State dicts to tensors named "optimizer.parameter.quantity" and the parameter groups."""
    tensors = {
        f"{number}.{parameter}.{quantity}": value
        for number, state in enumerate(states)
        for parameter, quantities in state["state"].items()
        for quantity, value in quantities.items()
    }
    return tensors, [state["param_groups"] for state in states]


def unflatten_optimizer_states(tensors: dict[str, Tensor], groups: Sequence[Any]) -> list[StateDict]:
    """The inverse of `flatten_optimizer_states`."""
    states: list[StateDict] = [{"state": {}, "param_groups": group} for group in groups]
    for name, value in tensors.items():
        number, parameter, quantity = name.split(".")
        states[int(number)]["state"].setdefault(int(parameter), {})[quantity] = value
    return states
