"""The models that the app offers, and their translators."""

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path

from cyclegan.config.schema import Direction
from cyclegan.errors import UsageError
from cyclegan.runs.checkpoint import LATEST
from cyclegan.runs.folder import identify, is_model_folder
from cyclegan.runs.hub import PREFIX, is_hub_name
from cyclegan.translation.export_formats import FORMATS
from cyclegan.translation.translator import Translator

LOADED = 6  # translators that stay in memory


def find_models(paths: Iterable[str | Path]) -> dict[str, str]:
    """The sources of models by label: runs with their checkpoints, model folders, exports and hub names.

    A path may also be a folder of these.
    """
    found: dict[str, str] = {}

    def add(label: str, source: str | Path) -> None:
        unique = label if label not in found else f"{label} ({source})"
        if str(source) not in found.values():
            found[unique] = str(source)

    for path in paths:
        if str(path).startswith(PREFIX):
            add(str(path).removeprefix(PREFIX), path)
            continue
        path = Path(path)
        for each in (path, *(sorted(path.iterdir()) if path.is_dir() else ())):
            name = each.resolve().name
            if (each / "config.toml").is_file() and not (each / "state.json").is_file():
                states = sorted((each / "checkpoints").glob("[!.]*/state.json"))
                for label, source in [(name, each), *((f"{name} · {_step(s.parent)}", s.parent) for s in states)]:
                    if states and source.name != LATEST:
                        add(label, source)
            elif (each / "state.json").is_file() or is_model_folder(each) or _is_export(each):
                add(name, each)
    return found


def _is_export(path: Path) -> bool:
    return path.is_file() and path.suffix in {FORMATS[name].suffix for name in FORMATS.names()} - {""}


def _step(checkpoint: Path) -> str:
    """The name of a checkpoint for people: "step 2000" for step-0002000."""
    return re.sub(r"^step-0*(?=\d)", "step ", checkpoint.name)


class Models:
    """Finds models below some paths, and keeps the translators last used loaded. Safe to use from several threads."""

    def __init__(self, paths: Sequence[str | Path]):
        self.paths = tuple(paths)
        self._lock = threading.Lock()
        self._loaded: OrderedDict[tuple[object, ...], Translator] = OrderedDict()

    def labels(self) -> list[tuple[str, str]]:
        """Label and source of each model, as the choices of a dropdown."""
        return list(find_models(self.paths).items())

    def label(self, source: str) -> str:
        """The label of a source; the source itself if it is not in the list."""
        return next((label for label, each in self.labels() if each == source), source)

    def load(self, source: str | None, direction: str | None = None, memory: str | None = None) -> Translator:
        """The translator of a model, loaded again when its files have changed. Raises as `Translator.load`.

        ``user/name`` that is not a path is a name on the hub. Raises `UsageError` without a source.
        """
        if not source:
            raise UsageError("There is no model yet; train one in the tab Train, or type a path or a hub name here.")
        if not Path(source).exists() and is_hub_name(source) and source not in map(str, self.paths):
            source = PREFIX + source
        with self._lock:
            key = (source, direction, memory or None, _version(source))
            if key not in self._loaded:
                self._loaded[key] = Translator.load(source, direction, memory=memory or None)
                while len(self._loaded) > LOADED:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(key)
            return self._loaded[key]

    def load_inverse(self, source: str, translator: Translator, memory: str | None = None) -> Translator:
        """The translator back. Raises `UsageError` when the model has learned one direction only."""
        back: Direction = "BtoA" if translator.direction == "AtoB" else "AtoB"
        if back not in translator.directions:
            raise UsageError(
                f"{self.label(source)} has only learned {' to '.join(translator.domains)}; "
                "a round trip needs both directions."
            )
        return self.load(source, back, memory)


def _version(source: str) -> object:
    """Changes when the weights of a local source change."""
    path = Path(source)
    if source.startswith(PREFIX) or not path.exists():
        return None
    if path.is_dir() and identify(path) == "run":
        path = path / "checkpoints" / LATEST
    file = next((each for each in (path / "state.json", path / "model.safetensors", path) if each.exists()), path)
    return file.stat().st_mtime_ns if file.exists() else None


def direction_choices(translator: Translator) -> list[tuple[str, str]]:
    """Label and name of each direction that a translator's model has learned."""
    names = translator.domains if translator.direction == "AtoB" else translator.domains[::-1]
    return [(" → ".join(names if each == "AtoB" else names[::-1]), each) for each in translator.directions]
