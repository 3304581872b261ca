"""Writing model folders, and publishing them on the Hugging Face hub with a card of training, quality and samples."""

import json
import tempfile
from pathlib import Path

from safetensors import SafetensorError

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.runs.card import SAMPLES, model_card
from cyclegan.runs.checkpoint import save_tensors
from cyclegan.runs.folder import identify, is_model_folder, read_run
from cyclegan.runs.hub import upload
from cyclegan.runs.model import FORMAT, VERSION, Model, read_model
from cyclegan.runs.summary import summarize
from cyclegan.system.atomic import replace_folder


def write_model(model: Model, folder: Path, *, overwrite: bool = False, card: str | None = None) -> None:
    """Write a model folder atomically, with `card` or a standard model card as its ``README.md``.

    Raises `UsageError` when the folder exists, unless it is a model and `overwrite` is set, and `CycleGANError` when it
    cannot be written.
    """
    if folder.exists() and not (overwrite and is_model_folder(folder)):
        hint = ", or replace it with --overwrite" if is_model_folder(folder) else ""
        raise UsageError(f"{folder} exists; choose another -o{hint}.")
    content = {
        "format": FORMAT,
        "version": VERSION,
        "settings": model.settings,
        "directions": model.directions,
        "domains": model.domains,
        "trained_size": model.trained_size,
        "value_range": [-1, 1],
        "source": model.source,
    }

    def fill(new: Path) -> None:
        save_tensors(model.weights, new / "model.safetensors")
        (new / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (new / "README.md").write_text(card or model_card(model, folder.name), encoding="utf-8")

    try:
        replace_folder(folder, fill)
    except (OSError, SafetensorError) as error:
        raise CycleGANError(f"The model {folder} cannot be written: {getattr(error, 'strerror', error)}.") from None


def publish(
    source: Path, name: str, *, private: bool = False, license: str | None = None, discriminators: bool = False
) -> str:
    """Upload a run or a model folder to the Hugging Face hub as ``user/name`` and return its address.

    A model folder is uploaded unchanged. Of a run, the generators are uploaded, with `discriminators` all networks
    (for fine-tuning), and a model card, whose license field is `license`, such as "cc-by-4.0". Raises `UsageError` and
    `CycleGANError`.
    """
    if identify(source) == "model":
        if license or discriminators:
            raise UsageError(f"{source} is a model folder, which is uploaded unchanged; edit its README.md.")
        return upload(source, name, private=private)
    model, summary = read_model(source, generators_only=not discriminators), summarize(source)
    config = read_run(source)  # the card names no folders of this machine
    paths = {n: Path(v.name) for n, v in (vars(config.data) | vars(config.networks)).items() if isinstance(v, Path)}
    config = config.with_settings(**paths, runs=Path("runs"), name=None)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        card = model_card(model, name, on_hub=True, license=license, summary=summary, config=config)
        write_model(model, folder, card=card)
        for direction, samples in summary.samples.items():
            (folder / SAMPLES.format(direction)).write_bytes(samples.read_bytes())
        return upload(folder, name, private=private)
