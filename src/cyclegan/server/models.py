"""The models of a server: loaded once, in all their directions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cyclegan.config.schema import Direction
from cyclegan.errors import UsageError
from cyclegan.runs.hub import PREFIX
from cyclegan.runs.model import find_direction
from cyclegan.translation.translator import Translator


@dataclass(frozen=True)
class ServedModel:
    """A model by name, with a translator for each direction and device."""

    name: str
    translators: Mapping[Direction, Sequence[Translator]]

    def find(self, direction: str | None) -> tuple[str, Translator]:
        """The key of a direction among the generators of all models, and its translator on the first device.

        Raises `UsageError` for a direction that was not learned.
        """
        first = next(iter(self.translators.values()))[0]
        domains = first.domains if first.direction == "AtoB" else first.domains[::-1]
        found = find_direction(direction, tuple(self.translators), (domains[0], domains[1]), f"The model {self.name}")
        return f"{self.name}/{found}", self.translators[found][0]

    def describe(self) -> dict[str, Any]:
        """For clients: the name and directions, with the names of domains, channels and the scale of training."""
        return {
            "name": self.name,
            "directions": [
                {
                    "direction": direction,
                    "from": translator.domains[0],
                    "to": translator.domains[1],
                    "channels_in": translator.in_channels,
                    "channels_out": translator.out_channels,
                    "trained_size": translator.trained_scale,
                }
                for direction, (translator, *_) in self.translators.items()
            ],
        }


def load_models(sources: Sequence[str], devices: Sequence[str], memory: str | None = None) -> dict[str, ServedModel]:
    """Load models by name: each source is a path or ``hf:user/name``, or ``NAME=SOURCE``.

    Exports of one direction each may share a name. Raises `UsageError` when two models have the same name and
    direction, and as `Translator.load`.
    """
    models: dict[str, dict[Direction, Sequence[Translator]]] = {}
    for source in sources:
        name, equals, path = source.partition("=")
        name, path = (name, path) if equals else (_name(source), source)
        loaded = [Translator.load(path, device=device, memory=memory) for device in devices]
        directions = models.setdefault(name, {})
        for direction in loaded[0].directions:
            if direction in directions:
                raise UsageError(f"Two models are called {name}; name one of them, such as other={path}.")
            directions[direction] = [
                each if each.direction == direction else Translator.load(path, direction, device, memory)
                for each, device in zip(loaded, devices, strict=True)
            ]
    return {name: ServedModel(name, directions) for name, directions in models.items()}


def by_device(models: Mapping[str, ServedModel]) -> list[dict[str, Translator]]:
    """For each device the translators of all models, by the keys of `ServedModel.find`."""
    everything = {f"{m.name}/{d}": each for m in models.values() for d, each in m.translators.items()}
    return [dict(zip(everything, translators, strict=True)) for translators in zip(*everything.values(), strict=True)]


def find_devices(text: str) -> list[str]:
    """The devices named by ``cuda:0,cuda:1``; for auto all GPUs, or else the CPU."""
    if text in ("auto", "cuda", "gpu") and torch.cuda.device_count() > 1:
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [each.strip() for each in text.split(",")]


def _name(source: str) -> str:
    if source.startswith(PREFIX):
        return source.rpartition("/")[2].partition("@")[0]
    path = Path(source).resolve()
    if path.parent.name == "checkpoints":
        return path.parent.parent.name
    return path.stem if path.is_file() else path.name
