"""A model: what is needed to translate, read from a model folder, a run or a checkpoint, and written as a model folder.

A model folder has ``model.safetensors`` (``generators.G.…``, ``discriminators.D_Y.…``), ``config.json`` (the settings
that the networks depend on, in the sections of ``config.toml``) and ``README.md``, the card that model hubs show.
"""

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from cyclegan._version import __version__
from cyclegan.config.schema import Config, Direction
from cyclegan.config.toml import from_tables, from_toml
from cyclegan.config.validation import validated
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.methods import METHODS
from cyclegan.runs import checkpoint
from cyclegan.system.atomic import replace_folder

FORMAT, VERSION = "cyclegan-model", 1
Settings = dict[str, dict[str, Any]]  # by section of `Config`

IMAGES = {1: "gray images", 2: "gray images with alpha", 3: "color images", 4: "color images with alpha"}
PIXELS = ("range_a", "range_b", "background")  # of the data, not of the networks
HOW_WEIGHTS_START = ("init", "init_gain", "init_from")  # no matter once there are weights


@dataclass(frozen=True)
class Model:
    """Networks with their weights, and the settings that they depend on; `source` says where they came from."""

    settings: Settings
    weights: dict[str, Tensor]
    source: str

    @property
    def config(self) -> Config:
        """The settings as a configuration; all that a model does not know has its default."""
        return validated(from_tables(self.settings))

    @property
    def method(self) -> str:
        """Name of the method that trained it."""
        return str(self.settings["loss"]["method"])

    @property
    def architecture(self) -> dict[str, Any]:
        """The settings that a training must share to start with these weights, by name."""
        config, own = self.config, ("method", "direction", *PIXELS)
        return {n: vars(getattr(config, s))[n] for s, table in self.settings.items() for n in table if n not in own}

    @property
    def directions(self) -> tuple[Direction, ...]:
        """The directions that were learned and whose generator is there."""
        method, loss = METHODS[self.method], self.config.loss
        return tuple(d for d in method.learned(loss) if self.network(f"generators.{method.directions[d]}"))

    def network(self, name: str) -> dict[str, Tensor]:
        """The state dict of one network, such as ``generators.G``; empty when it is not there."""
        return {k.removeprefix(f"{name}."): v for k, v in self.weights.items() if k.startswith(f"{name}.")}


def read_model(path: Path) -> Model:
    """The model of a model folder, of a run folder (its last checkpoint) or of a checkpoint folder.

    Of a training that averaged its generators, the averaged ones. Raises `UsageError` for a folder that is none of
    these, and `CycleGANError` for damaged files.
    """
    model = _read_folder(path) if is_model_folder(path) else _read_checkpoint(resolve_checkpoint(path))
    if not model.directions:
        raise CycleGANError(f"{path} holds no generator; there is nothing to translate with.")
    return model


def _read_checkpoint(folder: Path) -> Model:
    config = from_toml(folder / "config.toml")
    try:
        weights = load_file(folder / "weights.safetensors")
        weights = {k: v for k, v in weights.items() if not k.startswith("augmentations.")}  # of training alone
        if (folder / "ema.safetensors").exists():
            averaged = load_file(folder / "ema.safetensors")
            weights = {k: v for k, v in weights.items() if not k.startswith("generators.")}
            weights |= {f"generators.{name}": value for name, value in averaged.items()}
        step = json.loads((folder / "state.json").read_text(encoding="utf-8"))["step"]
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise CycleGANError(f"The weights in {folder} cannot be loaded: {error}") from None
    return Model(model_settings(config), weights, f"trained with cyclegan {__version__}, {step} steps")


def model_settings(config: Config) -> Settings:
    """What the networks depend on."""
    networks = {k: v for k, v in dataclasses.asdict(config.networks).items() if k not in HOW_WEIGHTS_START}
    data = vars(config.data)
    return {
        "networks": networks,
        "data": {name: value for name in ("channels_a", "channels_b", *PIXELS) if (value := data[name]) is not None},
        "loss": {name: getattr(config.loss, name) for name in ("method", "direction", "nce_layers")},
    }


def is_model_folder(folder: Path) -> bool:
    """Whether a folder has the files of a model."""
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()


def _read_folder(folder: Path) -> Model:
    try:
        described = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if described["format"] != FORMAT:
            raise UsageError(
                f"the format is {described['format']!r} and not {FORMAT!r}; it is another program's model."
            )
        if described["version"] != VERSION:
            raise UsageError(f"the version is {described['version']}, this program reads {VERSION}; update it.")
        model = Model(described["settings"], load_file(folder / "model.safetensors"), str(described["source"]))
        _ = model.config
        return model
    except UsageError as error:
        raise UsageError(f"{folder}/config.json: {error}") from None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CycleGANError(f"The model {folder} is damaged: {error}.") from None


def resolve_checkpoint(path: Path) -> Path:
    """The checkpoint folder that a run folder or checkpoint folder stands for. Raises `UsageError` when neither."""
    if (path / "state.json").is_file() and (path / "config.toml").is_file():
        return path
    if not path.exists():
        raise UsageError(f"{path} does not exist; give a run folder such as runs/NAME.")
    if not (path / "config.toml").is_file():
        raise UsageError(
            f"{path} is neither a run folder nor a checkpoint nor a model; give a folder such as runs/NAME."
        )
    found = checkpoint.latest_checkpoint(path)
    if found is None:
        raise UsageError(f"{path} has no checkpoint yet; train it further with `cyclegan resume {path}`.")
    return found


def write_model(model: Model, folder: Path, *, overwrite: bool = False) -> None:
    """Write a model folder, whole or not at all.

    Raises `UsageError` when the folder exists (unless it is a model and may be overwritten), `CycleGANError` when it
    cannot be written.
    """
    if folder.exists() and not (overwrite and is_model_folder(folder)):
        advice = ", or replace it with --overwrite" if is_model_folder(folder) else ""
        raise UsageError(f"{folder} exists; choose another -o{advice}.")
    try:
        replace_folder(folder, lambda newer: _write(model, newer, folder.name))
    except (OSError, SafetensorError) as error:
        raise CycleGANError(f"The model {folder} cannot be written: {getattr(error, 'strerror', error)}.") from None


def _write(model: Model, folder: Path, name: str) -> None:
    described = {
        "format": FORMAT,
        "version": VERSION,
        "settings": model.settings,
        "directions": model.directions,
        "value_range": [-1, 1],
        "source": model.source,
    }
    save_file({k: v.contiguous().cpu() for k, v in model.weights.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_card(model, name), encoding="utf-8")


def front_matter(method: str) -> str:
    """What the Hugging Face hub reads of a card."""
    return f"""\
---
library_name: cyclegan
pipeline_tag: image-to-image
tags:
- image-to-image
- {method}
---
"""


def _card(model: Model, name: str) -> str:
    """The model card, with the front matter that the Hugging Face hub reads."""
    networks, data, first = model.config.networks, model.config.data, model.directions[0]
    counts = {"A": data.channels_a, "B": data.channels_b}
    images = {domain: IMAGES.get(count, f"images of {count} channels") for domain, count in counts.items()}
    rows = "\n".join(f"| `{d}` | {images[d[0]]} | {images[d[-1]]} |" for d in model.directions)
    return f"""\
{front_matter(model.method)}
# {name}

Translates images from one kind into another: {networks.generator} of width {networks.generator_width}, method
`{model.method}`, {model.source}.

| direction | in | out |
| --- | --- | --- |
{rows}

```
cyclegan translate {name} photos/ -o translated/ --direction {first}
```

```python
from PIL import Image
from cyclegan import Translator

translator = Translator.load("{name}", direction="{first}")
translator.translate(Image.open("photo.jpg")).save("translated.png")
```

Images may have any size. The networks take and give tensors in [-1, 1]. `model.safetensors` holds
{_words(sorted({".".join(k.split(".")[:2]) for k in model.weights}))}, `config.json` the settings they were built with.
"""


def _words(names: Iterable[str]) -> str:
    *most, last = (f"`{name}`" for name in names)
    return f"{', '.join(most)} and {last}" if most else last


def architecture(path: Path) -> dict[str, Any]:
    """The settings of the networks of a model, run or checkpoint, by name. Raises as `read_model`."""
    return read_model(path).architecture
