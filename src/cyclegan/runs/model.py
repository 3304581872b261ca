"""Models: what translation and fine-tuning need, read from a run, a checkpoint or a model folder.

A model folder, as model hubs expect it, holds ``model.safetensors`` (``generators.G.…`` and, for fine-tuning,
``discriminators.D_Y.…``), ``config.json`` (the settings that the networks depend on, in the sections of
``config.toml``, the names of the domains, the size of the training images) and ``README.md``, the model card.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from cyclegan._version import __version__
from cyclegan.config.schema import Config, Direction
from cyclegan.config.toml import from_tables
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.methods.method import method_class, network_shapes
from cyclegan.methods.registry import method_spec, validate_method
from cyclegan.networks.generator import Generator
from cyclegan.runs.checkpoint import latest_checkpoint, load_tensors, saved_domains, tensor_shapes
from cyclegan.runs.folder import identify, read_run
from cyclegan.system.text import quote

FORMAT, VERSION = "cyclegan-model", 1
ONLY_FOR_TRAINING = ("augmentations.", "discriminators.S.", "discriminators.P.")  # of label maps and of pairs
GENERATORS = "generators."  # prefix of their tensors
Settings = dict[str, dict[str, Any]]  # by section of `Config`

# Settings of images, which do not shape the networks.
PIXELS = ("range_a", "range_b", "background", "preprocess", "load_size", "crop_size")
INITIALIZATION = ("init", "init_gain", "init_from")  # irrelevant once there are weights


@dataclass(frozen=True)
class Model:
    """The weights of networks and the settings that they depend on."""

    settings: Settings
    weights: dict[str, Tensor]
    source: str  # how the weights were made
    domains: tuple[str, str] = ("A", "B")  # what A and B are called
    trained_size: int = 256  # pixels of the square crops

    @cached_property
    def config(self) -> Config:
        """The settings as a validated configuration, with defaults for those that a model does not have."""
        return validate_method(from_tables(self.settings))

    @property
    def method(self) -> str:
        """Name of the method that trained it."""
        return str(self.settings["loss"]["method"])

    @property
    def architecture(self) -> dict[str, Any]:
        """The settings by name that a run must share to start from these weights."""
        config, other = self.config, ("method", "direction", *PIXELS)
        return {n: vars(getattr(config, s))[n] for s, table in self.settings.items() for n in table if n not in other}

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The learned directions whose generators are here."""
        spec, loss = method_spec(self.method), self.config.loss
        return tuple(
            direction
            for direction in spec.learned(loss)
            if any(name.startswith(f"{GENERATORS}{spec.directions[direction]}.") for name in self.weights)
        )

    @property
    def trained_scale(self) -> int | None:
        """The side in pixels to which whole training images were resized; None if they kept their own scale."""
        data = self.config.data
        return None if data.preprocess in ("crop", "none") else data.load_size

    def network(self, name: str) -> dict[str, Tensor]:
        """The state dict of one network, such as ``generators.G``; empty if it is not here."""
        return {k.removeprefix(f"{name}."): v for k, v in self.weights.items() if k.startswith(f"{name}.")}


def read_model(path: Path, *, generators_only: bool = False) -> Model:
    """The model in a model folder, a run (its latest checkpoint) or a checkpoint; averaged generators, if there are.

    With `generators_only` no other weights are read. Raises `UsageError` for other paths and a run without
    checkpoints, `CycleGANError` for damaged files.
    """
    kind, prefix = identify(path), GENERATORS if generators_only else ""
    if kind == "export":
        raise UsageError(f"{path} is a file; give a run, a checkpoint or a model folder.")
    checkpoint = latest_checkpoint(path) if kind == "run" else path
    if checkpoint is None:
        raise UsageError(f"{path} has no checkpoint yet; train it further with `cyclegan resume {quote(path)}`.")
    model = _read_model_folder(path, prefix) if kind == "model" else _read_checkpoint(checkpoint, prefix)
    if not model.directions:
        raise CycleGANError(f"{path} has no generator; there is nothing to translate with.")
    return model


def find_misfit(config: Config, weights: Path, ema: Path | None = None) -> str:
    """The first tensor in these files that has another shape than the settings ask for; empty if there is none.

    It reads headers only and builds no network, so that a small file cannot make its reader allocate gigabytes. Files
    that cannot be read have no misfit. Raises `UsageError` for settings that contradict each other.
    """
    try:
        held = tensor_shapes(weights)
        if ema is not None and ema.exists():
            held |= {f"{GENERATORS}{name}": shape for name, shape in tensor_shapes(ema).items()}
    except (OSError, SafetensorError):
        return ""
    networks = {tuple(name.split(".")[:2]) for name in held}
    for name, shape in network_shapes(config).items():
        if tuple(name.split(".")[:2]) in networks and held.get(name) != tuple(shape):
            found = f"has the shape {held[name]}" if name in held else "is missing"
            return f"{name} {found}; the settings ask for {tuple(shape)}"
    return ""


def _read_checkpoint(folder: Path, prefix: str) -> Model:
    config, ema = read_run(folder), folder / "ema.safetensors"
    if misfit := find_misfit(config, folder / "weights.safetensors", ema):
        raise CycleGANError(f"The weights in {folder} do not fit its config.toml: {misfit}.")
    try:
        weights = {}
        if not (prefix and ema.exists()):
            weights = load_tensors(folder / "weights.safetensors", prefix)
        if ema.exists():
            weights = {name: value for name, value in weights.items() if not name.startswith(GENERATORS)}
            weights |= {f"{GENERATORS}{name}": value for name, value in load_tensors(ema).items()}
        step = json.loads((folder / "state.json").read_text(encoding="utf-8"))["step"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        others = sorted(path.parent for path in folder.parent.glob("*/state.json") if path.parent != folder)
        advice = f"; use another one, such as {others[-1]}" if others else ""
        raise CycleGANError(f"The checkpoint {folder} cannot be loaded: it is damaged ({error}){advice}.") from None
    weights = {k: v for k, v in weights.items() if not k.startswith(ONLY_FOR_TRAINING)}
    source = f"trained with cyclegan {__version__}, {step} steps"
    return Model(model_settings(config), weights, source, saved_domains(folder), config.data.crop_size)


def model_settings(config: Config) -> Settings:
    """The settings that networks and their use depend on."""
    networks = {k: v for k, v in dataclasses.asdict(config.networks).items() if k not in INITIALIZATION}
    data = vars(config.data)
    return {
        "networks": networks,
        "data": {n: data[n] for n in ("channels_a", "channels_b", *PIXELS) if data[n] is not None},
        "loss": {name: getattr(config.loss, name) for name in ("method", "direction", "nce_layers")},
    }


def _read_model_folder(folder: Path, prefix: str) -> Model:
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise UsageError(f"its format is {content['format']!r} instead of {FORMAT!r}; another program wrote it.")
        if content["version"] != VERSION:
            raise UsageError(f"its version is {content['version']}, this program reads {VERSION}; update cyclegan.")
        weights = load_tensors(folder / "model.safetensors", prefix)
        name_a, name_b = map(str, content["domains"])
        model = Model(
            content["settings"], weights, str(content["source"]), (name_a, name_b), int(content["trained_size"])
        )
        if misfit := find_misfit(model.config, folder / "model.safetensors"):
            raise ValueError(f"its weights do not fit its config.json: {misfit}")
        return model
    except UsageError as error:
        raise UsageError(f"{folder}/config.json: {error}") from None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CycleGANError(f"The model {folder} is damaged: {error}.") from None


def find_direction(
    name: str | None, directions: Sequence[Direction], domains: tuple[str, str], path: str | Path
) -> Direction:
    """The direction with this name, in any case: "AtoB", or "horse2zebra" after the domains; the first one for None.

    Raises `UsageError`, which lists the names, for any other; `path` is what it is about.
    """
    names = {d: "2".join(domains if d == "AtoB" else domains[::-1]) for d in directions}
    for direction, by_domains in names.items():
        if name is None or name.lower() in (direction.lower(), by_domains.lower()):
            return direction
    listed = " and ".join(f"{d} ({words})" if domains != ("A", "B") else d for d, words in names.items())
    raise UsageError(f"{path} translates {listed} only, not {name}.")


def load_generator(model: Model, name: str | None, path: str | Path) -> tuple[Generator, tuple[int, int], Direction]:
    """The generator of the direction `name` (see `find_direction`), its images' channels in and out, the direction.

    `path` is for error messages. Raises `UsageError` for a direction that was not learned, `CycleGANError` for weights
    that do not fit.
    """
    direction, config = find_direction(name, model.directions, model.domains, path), model.config
    channels = (config.data.channels_a, config.data.channels_b)
    channels = channels if direction == "AtoB" else channels[::-1]
    generator = method_class(model.method).build_generator(config.networks, *channels)
    try:
        generator.load_state_dict(model.network(f"generators.{method_spec(model.method).directions[direction]}"))
    except RuntimeError as error:
        raise CycleGANError(f"The weights in {path} cannot be loaded: {error}") from None
    return generator, channels, direction
