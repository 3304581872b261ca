"""Evaluating the directions of a run, checkpoint or model on its test images."""

from collections.abc import Callable
from pathlib import Path

from cyclegan.config.schema import Config
from cyclegan.data.select import require_data
from cyclegan.errors import UsageError
from cyclegan.evaluation.measure import Reference, measure, measure_reference
from cyclegan.evaluation.set_distances import load_networks
from cyclegan.evaluation.test_set import MAX_IMAGES, read_test_set
from cyclegan.runs.checkpoint import find_checkpoint, latest_checkpoint
from cyclegan.runs.folder import is_model_folder, read_run
from cyclegan.runs.hub import resolve_source
from cyclegan.runs.model import read_model
from cyclegan.runs.results import Evaluation
from cyclegan.runs.summary import saved_progress
from cyclegan.system.text import quote
from cyclegan.translation.translator import Translator


def evaluate(
    run: str | Path,
    data: str | Path | None = None,
    *,
    checkpoint: str | None = None,
    all_checkpoints: bool = False,
    size: int | None = None,
    max_images: int = MAX_IMAGES,
    inception: str | None = None,
    device: str = "auto",
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[Evaluation]:
    """Evaluate all directions of a run, checkpoint, model or ``hf:user/name`` on its test images or those of `data`.

    `checkpoint` selects a checkpoint of the run by name, `all_checkpoints` its numbered ones and the latest. Images are
    resized to `size` (default: the training size), at most `max_images` of each kind. `inception` is the weights file
    for FID and KID, or "download". `on_progress` receives a message before each measurement. Raises `UsageError` and
    `CycleGANError` when the model, the data or a network cannot be loaded.
    """
    name, run = str(run), resolve_source(run)
    config = evaluation_config(run, None if data is None else Path(data), f"cyclegan evaluate {quote(name)} DATA")
    folders = _checkpoint_folders(run, checkpoint, all_checkpoints)
    directions = read_model(folders[0], generators_only=True).directions
    networks, notes = load_networks(inception)
    size, evaluations = size or config.data.crop_size, []
    for direction in directions:
        images = read_test_set(config, direction, size, max_images)
        reference: Reference | None = None
        for folder in folders:
            on_progress(f"Measuring {folder.name}, {' to '.join(images.domains)}")
            translator = Translator.load(folder, direction, device)
            others = [Translator.load(folder, other, device) for other in directions if other != direction]
            reference = reference or measure_reference(images, translator, networks)
            progress = saved_progress(folder)
            evaluations.append(
                Evaluation(
                    run=name,
                    checkpoint=folder.name,
                    step=progress[0] if progress else None,
                    direction=direction,
                    source=images.domains[0],
                    target=images.domains[1],
                    size=size,
                    names=images.names,
                    metrics=measure(translator, others[0] if others else None, images, networks, reference),
                    notes=(*images.notes, *notes),
                )
            )
    return evaluations


def evaluation_config(run: Path, data: Path | None, option: str) -> Config:
    """The settings of a run, checkpoint or model, with `data` instead of its own if given.

    Raises `UsageError`, with the `option` that names the data, for a model without `data` and a run whose data is gone.
    """
    if not is_model_folder(run):
        config = read_run(run)
        if data is None:
            require_data(config, run, option)
            return config
        return config.with_settings(data=data.resolve(), a=None, b=None)
    if data is None:
        raise UsageError(f"{run} is a model without data; name the data folder: {option}.")
    model = read_model(run, generators_only=True)
    return model.config.with_settings(data=data.resolve(), crop_size=model.trained_size)


def _checkpoint_folders(run: Path, name: str | None, every: bool) -> list[Path]:
    """`run` itself, its checkpoint of this name, or its numbered checkpoints and the latest. Raises `UsageError`."""
    if name is not None:
        return [find_checkpoint(run, name)]
    if not every:
        return [run]
    folders = [file.parent for file in sorted((run / "checkpoints").glob("step-*/state.json"))]
    latest = latest_checkpoint(run)
    if latest is not None and saved_progress(latest) not in map(saved_progress, folders):
        folders.append(latest)
    if not folders:
        raise UsageError(f"{run} has no checkpoints; --all evaluates those kept by --checkpoint-epochs.")
    return folders
