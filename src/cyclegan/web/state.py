"""The state of a run folder as data for the page. It only reads, and imports no torch."""

import json
import re
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from cyclegan.config.schema import Config
from cyclegan.errors import CycleGANError
from cyclegan.evaluation.report.curves import MAX_POINTS, QUALITY_GROUPS, group_columns, smooth
from cyclegan.methods.registry import method_spec
from cyclegan.runs.folder import is_training, read_run
from cyclegan.runs.grid_layout import find_layout
from cyclegan.runs.metrics_files import HIGHER_IS_BETTER, read_messages, read_metrics, score, selecting_metric
from cyclegan.training.schedule import budget_progress

RECENT_ROWS = 20  # of metrics.csv; they tell the speed from which the time left follows
DEFAULT_HEADINGS = ("input", "translated", "and back", "identity")  # of grids without text
_GRID = re.compile(r"step-(\d+)-([A-Za-z]+)\.png")
T = TypeVar("T")


def _version(file: Path) -> tuple[int, int] | None:
    """When the file was written, in nanoseconds since 1970, and its size; None if it does not exist."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _read_once(read: Callable[..., T]) -> Callable[..., T]:
    """Call `read`, whose first argument is a file, again only when the file has changed."""
    known: dict[Any, tuple[tuple[int, int] | None, T]] = {}  # of each file only its last version: they can be large

    @wraps(read)
    def reader(*arguments: Any) -> T:
        version = _version(arguments[0])
        if arguments not in known or known[arguments][0] != version:
            known[arguments] = version, read(*arguments)
        return known[arguments][1]

    return reader


_metrics = _read_once(read_metrics)
_messages = _read_once(read_messages)
_json_file = _read_once(lambda file: json.loads(file.read_text(encoding="utf-8")))
_config = _read_once(lambda file: read_run(file.parent))


@_read_once
def _grid(file: Path) -> dict[str, Any] | None:
    """Size, layout, headings and domains of a sample grid; None for a file that is not one, or not yet complete."""
    try:
        with Image.open(file, formats=("PNG",)) as image:
            (width, height), info = image.size, image.info
    except Exception:  # decoders raise almost any exception on damaged files
        return None
    layout = find_layout(width, height)
    if layout is None:
        return None
    headings = str(info.get("headings", "")).split("\n")
    return {
        "width": width,
        "height": height,
        "boxes": [[layout.box(column, row) for column in range(layout.columns)] for row in range(layout.rows)],
        "headings": headings if len(headings) == layout.columns else DEFAULT_HEADINGS[: layout.columns],
        "domains": str(info.get("domains", "")).split("\n"),
    }


def find_runs(paths: Iterable[Path]) -> dict[str, Path]:
    """The runs among the paths and directly inside them, by unique names, in order."""
    files = ([path / "config.toml", *sorted(path.glob("*/config.toml"))] for path in paths)
    found = dict.fromkeys(file.parent.resolve() for each in files for file in each if file.is_file())
    names = [run.name for run in found]
    return {
        run.name if names.count(run.name) == 1 else f"{run.parent.name}-{run.name}-{number}": run
        for number, run in enumerate(found, start=1)
    }


def summarize_run(name: str, run: Path) -> dict[str, Any]:
    """Name, state, progress and quality of a run in a few fields, or its `problem` as a sentence."""
    try:
        config = _config(run / "config.toml")
        title = method_spec(config.loss.method).title
    except CycleGANError as error:
        return {"name": name, "problem": str(error)}
    metrics, quality = _metrics(run / "metrics.csv"), _metrics(run / "quality.csv")
    last = {column: values[-1] for column, values in metrics.items()}
    saved = _checkpoint(run / "checkpoints" / "latest" / "state.json", config)
    if saved.get("step", 0) >= last.get("step", 1):
        last |= saved
    progress, training, version = last.get("progress", 0.0), is_training(run), _version(run / "metrics.csv")
    return {
        "name": name,
        "method": title,
        "size": config.data.crop_size,
        "state": "training" if training else "complete" if progress >= 1 else "stopped",
        "progress": progress,
        "step": int(last.get("step", 0)),
        "epoch": int(last.get("epoch", 0)),
        "minutes": last.get("minutes", 0.0),
        "left": _minutes_left(metrics) if training else None,
        "speed": last.get("images_per_second"),
        "first_row": config.run.log_every,
        "updated": version and round(version[0] / 1e9, 1),
        "quality": _quality(quality, config.run.best_by),
        "messages": len(_messages(run / "messages.jsonl")),
        "report": (run / "report.html").is_file(),
    }


def describe_run(name: str, run: Path) -> dict[str, Any]:
    """Everything that the page shows of a run. Raises `CycleGANError` if its settings cannot be read."""
    method = _config(run / "config.toml").loss.method
    samples = _samples(run)
    domains = samples["AtoB"]["domains"] if "AtoB" in samples else samples["BtoA"]["domains"][::-1] if samples else []
    names = (domains[0], domains[1]) if len(domains) == 2 else ("A", "B")
    for direction, sample in samples.items():
        sample["domains"] = names if direction == "AtoB" else names[::-1]
    return summarize_run(name, run) | {
        "samples": samples,
        "panels": {
            "quality": _panels(run / "quality.csv", names, ""),
            "losses": _panels(run / "metrics.csv", names, method),
        },
        "notes": [{"step": step, "text": text} for step, text in reversed(_messages(run / "messages.jsonl"))],
    }


def sample_file(run: Path, name: str) -> Path | None:
    """The sample grid of this name in a run, if it exists."""
    return next((file for _, _, file in _grids(run) if file.name == name), None)


def _checkpoint(file: Path, config: Config) -> dict[str, float]:
    """Step, minutes and progress of a checkpoint; empty if it is missing or damaged."""
    try:
        saved = _json_file(file)
        step, minutes, (epochs, since) = saved["step"], saved["minutes"], saved["epoch_origin"]
        epochs += (step - since) / (saved["steps_per_epoch"] or 1)
        progress = budget_progress(step, epochs, minutes, optimizer=config.optimizer, run=config.run)
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {"step": step, "minutes": minutes, "progress": progress}


def _grids(run: Path) -> list[tuple[int, str, Path]]:
    """Step, direction and file of each sample grid, in order."""
    files = (run / "samples").glob("step-*.png")
    return sorted((int(match[1]), match[2], file) for file in files if (match := _GRID.fullmatch(file.name)))


def _samples(run: Path) -> dict[str, Any]:
    """For each direction the layout of its newest sample grid, and step and address of all."""
    samples: dict[str, Any] = {}
    for step, direction, file in reversed(_grids(run)):
        if direction not in samples:
            if (layout := _grid(file)) is None:  # still being written
                continue
            samples[direction] = layout | {"steps": []}
        samples[direction]["steps"].insert(0, {"step": step, "file": f"{file.name}?v={file.stat().st_mtime_ns}"})
    return dict(sorted(samples.items()))


@_read_once
def _panels(file: Path, names: tuple[str, str], method: str) -> list[dict[str, Any]]:
    """The panels of a metrics file, for a method's losses or, without one, for quality.

    A curve has at most about `MAX_POINTS` points: step, minutes, value, and the moving average.
    """
    metrics, groups = _metrics(file), method_spec(method).term_groups if method else QUALITY_GROUPS
    count = len(metrics.get("step", []))
    kept = sorted({*range(0, count, -(-count // MAX_POINTS) or 1), count - 1} - {-1})
    minutes, panels = metrics.get("minutes", [0.0] * count), []
    for heading, columns in group_columns(metrics, names, groups).items():
        curves = []
        for column, label in columns.items():
            values = metrics[column]
            mean = smooth(values) if count >= 20 else values
            rows = ([metrics["step"][i], minutes[i], values[i], mean[i]] for i in kept)
            points = [[float(f"{value:.7g}") for value in row] for row in rows]
            curves.append({"column": column, "label": label, "points": points})
        panels.append({"heading": heading, "curves": curves})
    return panels


def _quality(quality: dict[str, list[float]], best_by: str) -> dict[str, Any] | None:
    """The metric that selects the best checkpoint, the mean of its directions: last, best, of untranslated inputs."""
    metric = selecting_metric(best_by, quality)
    columns = [column for column in quality if column.startswith(f"{metric}_")]
    if not columns:
        return None
    rows = zip(quality["step"], *(quality[column] for column in columns), strict=True)
    scores = [(score(dict(zip(columns, row, strict=True)), metric), step) for step, *row in rows]
    measured = [each for each in scores if each[1] > 0]  # step 0: the untranslated inputs
    if not measured:
        return None
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    best, best_step = max(measured, key=lambda each: each[0])
    untranslated = sign * scores[0][0] if scores[0][1] == 0 else None
    found = {"last": sign * measured[-1][0], "best": sign * best, "best_step": best_step, "untranslated": untranslated}
    return {"name": metric.upper()} | found


def _minutes_left(metrics: dict[str, list[float]]) -> float | None:
    """Minutes until the budget is used up, at the speed of the most recent rows; None before there is a speed."""
    progress, minutes = ([0.0, *metrics.get(name, [])][-RECENT_ROWS:] for name in ("progress", "minutes"))
    done = progress[-1] - progress[0]
    return (minutes[-1] - minutes[0]) / done * (1 - progress[-1]) if done > 0 else None
