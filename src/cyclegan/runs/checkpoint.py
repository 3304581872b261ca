"""Checkpoints: folders of safetensors and JSON files that are complete whenever the process is killed.

A checkpoint holds ``config.toml``, ``weights.safetensors`` (all networks), ``ema.safetensors`` (averaged generators, if
averaging is on), ``optimizers.safetensors``, one ``process-N.safetensors`` per process (its image history and random
state) and ``state.json`` (counters).
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cyclegan.errors import CycleGANError
from cyclegan.runs.folder import require_checkpoint
from cyclegan.system.atomic import rename, replace_folder

LATEST, BEST = "latest", "best"
_OLDER = ".latest-older"  # left by a kill in the middle of `replace_folder`


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors to a file, with the permissions of any new file: safetensors itself makes it readable by its owner
    alone. Raises `OSError` and `SafetensorError`."""
    path.touch()
    mode = path.stat().st_mode
    save_file({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, path)
    path.chmod(mode)


def load_tensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors of a file whose names start with `prefix`; no others are read. Raises as `save_tensors`."""
    with safe_open(path, "pt") as file:  # its tensors are views of the file, which Windows would not let go then
        return {name: file.get_tensor(name).clone() for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a file's tensors by name, from its header alone. Raises as `save_tensors`."""
    with safe_open(path, "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


@dataclass
class Checkpoint:
    """Everything that a run needs to resume exactly."""

    config_toml: str
    weights: dict[str, Tensor]
    ema: dict[str, Tensor] | None
    optimizers: dict[str, Tensor]
    processes: list[dict[str, Tensor]]
    state: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, target: Path) -> None:
    """Write or replace the checkpoint folder `target` atomically. Raises `CycleGANError` when that fails."""

    def fill(folder: Path) -> None:
        (folder / "config.toml").write_text(checkpoint.config_toml, encoding="utf-8")
        save_tensors(checkpoint.weights, folder / "weights.safetensors")
        if checkpoint.ema is not None:
            save_tensors(checkpoint.ema, folder / "ema.safetensors")
        save_tensors(checkpoint.optimizers, folder / "optimizers.safetensors")
        for number, process in enumerate(checkpoint.processes):
            save_tensors(process, folder / f"process-{number}.safetensors")
        (folder / "state.json").write_text(json.dumps(checkpoint.state), encoding="utf-8")

    try:
        replace_folder(target, fill)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CycleGANError(
            f"The checkpoint {target} cannot be written ({reason}); the previous one is unchanged."
        ) from None


def keep_numbered_copy(folder: Path, step: int, keep: int) -> None:
    """Copy ``latest`` to ``step-NNNNNNN`` (hard-linked where possible) and delete all but the newest `keep` copies.

    Copies of this or a later step are deleted first: they are from before a resume from an earlier checkpoint.
    """

    def link_or_copy(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)

    numbered = folder / f"step-{step:07d}"
    temporary = folder / f".{numbered.name}"
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(folder / LATEST, temporary, copy_function=link_or_copy)
    for existing in folder.glob("step-*"):
        if existing.name >= numbered.name:
            shutil.rmtree(existing)
    rename(temporary, numbered)
    if keep:
        for old in sorted(folder.glob("step-*"))[:-keep]:
            shutil.rmtree(old, ignore_errors=True)  # one that is being read on Windows is deleted next time


def delete_leftovers(run: Path) -> None:
    """Delete what a killed save has left, and put back a checkpoint that it had set aside."""
    for left in (run / "checkpoints").glob(".*"):
        name, separator, _ = left.name[1:].rpartition("-older")
        with suppress(OSError):
            if separator and not left.with_name(name).exists():
                rename(left, left.with_name(name))
            else:
                shutil.rmtree(left)


def latest_checkpoint(run: Path) -> Path | None:
    """The folder of the run's newest complete checkpoint, or None."""
    for name in (LATEST, _OLDER):
        if (run / "checkpoints" / name / "state.json").exists():
            return run / "checkpoints" / name
    return None


def saved_domains(folder: Path | None) -> tuple[str, str]:
    """The names of the domains in a checkpoint; "A" and "B" if it has none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        if folder is not None:
            a, b = json.loads((folder / "state.json").read_text(encoding="utf-8"))["domains"]
            return str(a), str(b)
    return "A", "B"


def find_checkpoint(run: Path, name: str) -> Path:
    """The folder of the run's checkpoint `name`. Raises `UsageError`, listing those that exist, if it has none."""
    require_checkpoint(run, name)
    return run / "checkpoints" / name


def load_checkpoint(folder: Path, process: int) -> Checkpoint:
    """Read a checkpoint, with the state of one process, if the run that wrote it had that many.

    Raises `CycleGANError` when files are missing or damaged.
    """
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        ema = folder / "ema.safetensors"
        return Checkpoint(
            config_toml=(folder / "config.toml").read_text(encoding="utf-8"),
            weights=load_tensors(folder / "weights.safetensors"),
            ema=load_tensors(ema) if ema.exists() else None,
            optimizers=load_tensors(folder / "optimizers.safetensors"),
            processes=[load_tensors(folder / f"process-{process}.safetensors")] if process < state["processes"] else [],
            state=state,
        )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CycleGANError(f"The checkpoint {folder} is damaged ({error}){other_checkpoint_hint(folder)}.") from None


def other_checkpoint_hint(damaged: Path) -> str:
    """The end of an error message about a damaged checkpoint: which other one to resume from, if any."""
    others = sorted(path.name for path in damaged.parent.glob("step-*") if path.name != damaged.name)
    return f"; resume from another one with --checkpoint {others[-1]}" if others else ""


StateDict = dict[str, Any]


def flatten_optimizer_states(states: Sequence[StateDict]) -> tuple[dict[str, Tensor], list[Any]]:
    """Optimizers' state dicts as tensors named "optimizer.parameter.quantity", and their parameter groups."""
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
