"""Evaluating the directions of a run, checkpoint or model on its test images."""

from collections.abc import Callable
from pathlib import Path

from cyclegan.config.schema import Config, Direction
from cyclegan.data.preprocessing import decode_specs
from cyclegan.data.select import find_data, is_paired
from cyclegan.errors import UsageError
from cyclegan.evaluation.measure import Reference, load_generators, measure, measure_reference
from cyclegan.evaluation.set_distances import load_networks
from cyclegan.evaluation.test_set import MAX_IMAGES, TestSet, read_test_set
from cyclegan.methods.registry import method_spec
from cyclegan.runs.checkpoint import find_checkpoint, latest_checkpoint
from cyclegan.runs.folder import is_model_folder, read_run
from cyclegan.runs.model import read_model
from cyclegan.runs.results import Evaluation
from cyclegan.runs.summary import saved_progress


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
    """Evaluate all directions of a run, a checkpoint or a model on the test images of its data, or of `data`.

    `checkpoint` selects a checkpoint of the run by name, `all_checkpoints` its numbered ones and the latest. Images are
    resized to `size` (default: the training size), at most `max_images` of each kind. `inception` is the weights file
    for FID and KID, or "download". `on_progress` receives a message before each measurement. Raises `UsageError` and
    `CycleGANError` when the model, the data or a network cannot be loaded.
    """
    run, data = Path(run), None if data is None else Path(data)
    config = evaluation_config(run, data)
    networks, notes = load_networks(inception)
    evaluations = []
    for direction in method_spec(config.loss.method).learned(config.loss):
        images, (source, target) = read_direction(config, direction, size, max_images)
        reference: Reference | None = None
        for folder in _checkpoint_folders(run, checkpoint, all_checkpoints):
            on_progress(f"Measuring {folder.name}, {source} to {target}")
            progress = saved_progress(folder)
            translator, inverse = load_generators(folder, direction, device)
            reference = reference or measure_reference(images, translator, networks)
            evaluations.append(
                Evaluation(
                    run=str(run),
                    checkpoint=folder.name,
                    step=progress[0] if progress else None,
                    direction=direction,
                    source=source,
                    target=target,
                    size=size or config.data.crop_size,
                    names=images.names,
                    metrics=measure(translator, inverse, images, networks, reference),
                    notes=(*images.notes, *notes),
                )
            )
    return evaluations


def evaluation_config(run: Path, data: Path | None) -> Config:
    """The settings of a run, checkpoint or model, with `data` instead of its own if given.

    Raises `UsageError` for a model without `data`.
    """
    if not is_model_folder(run):
        config = read_run(run)
        return config if data is None else config.with_settings(data=data.resolve(), a=None, b=None)
    if data is None:
        raise UsageError(f"{run} is a model without data; name the data folder: cyclegan evaluate {run} DATA.")
    model = read_model(run, generators_only=True)
    return model.config.with_settings(data=data.resolve(), crop_size=model.trained_size)


def read_direction(
    config: Config, direction: Direction, size: int | None, max_images: int
) -> tuple[TestSet, tuple[str, str]]:
    """The test set of a direction, and the names of its source and target domains. Raises as `read_test_set`."""
    domains = find_data(config)
    train, test, names = domains.train, domains.test, domains.names
    if direction == "BtoA":
        train, test, names = train.swapped(), test.swapped(), names[::-1]
    specs = decode_specs(config.data, direction)
    return read_test_set(train, test, is_paired(config), specs, size or config.data.crop_size, max_images), names


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
