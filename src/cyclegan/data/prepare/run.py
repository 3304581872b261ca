"""Running the tasks of a plan on all CPU cores."""

import os
import shutil
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cyclegan.data.prepare.images import Recipe, apply_recipe, detect_edges, read, side_by_side
from cyclegan.data.prepare.plan import Layout, Task, is_video, make_names_unique
from cyclegan.imaging.encode import write_pixels
from cyclegan.imaging.image import Pixels
from cyclegan.imaging.source import UnreadableImage, UnsupportedImage, open_image, path_of
from cyclegan.imaging.video import read_frames
from cyclegan.system.machine import cpu_count


@dataclass(frozen=True)
class TaskResult:
    """The number of files written for a task, and the problem if some or all could not be."""

    task: Task
    files: int = 0
    problem: str | None = None


def run(
    tasks: Sequence[Task], folder: Path, layout: Layout, recipe: Recipe, *, every: int = 1, test: float = 0.0
) -> Generator[TaskResult, None, None]:
    """Run all tasks and yield their results in order. Unchanged files are hard-linked, or copied where not possible.

    Of videos, every `every`-th frame is extracted; the last fraction `test` of a video is for testing. Raises
    `CycleGANError` when files cannot be written.
    """
    stop = threading.Event()
    work = partial(_run_task, folder=folder, layout=layout, recipe=recipe, every=every, test=test, stop=stop)
    pool = ThreadPoolExecutor(cpu_count())  # decoding, resizing and encoding release the GIL
    try:
        yield from pool.map(work, make_names_unique(tasks))
    finally:
        stop.set()  # ends the extraction of a long video
        pool.shutdown(cancel_futures=True)


def _run_task(
    task: Task, folder: Path, layout: Layout, recipe: Recipe, every: int, test: float, stop: threading.Event
) -> TaskResult:
    try:
        if is_video(task.path):
            return _extract_frames(task, folder, recipe, every, test, stop)
        if layout == "folders" and not recipe.changes:
            for source in task.sources:
                with open_image(path_of(source)):  # link both of a pair, or none
                    pass
            for source, domain in zip(task.sources, task.domains, strict=True):
                _link(path_of(source), _target(task, folder, domain))
            return TaskResult(task, len(task.sources))
        return TaskResult(task, _convert(task, folder, layout, recipe))
    except UnreadableImage as error:
        return TaskResult(task, problem=str(error))
    except UnsupportedImage as error:
        return TaskResult(task, problem=f"{task.path} {error}.")


def _link(source: Path, stem: Path) -> None:
    target = stem.with_name(stem.name + source.suffix)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another disk, or a file system without hard links
        shutil.copyfile(source, target)


def _target(task: Task, folder: Path, domain: str) -> Path:
    """The path of a result, without suffix."""
    return folder / f"{task.split}{domain}" / task.name


def _convert(task: Task, folder: Path, layout: Layout, recipe: Recipe) -> int:
    """Decode, change and write; both images of a pair, or none."""
    suffixes = [recipe.suffix or path_of(source).suffix for source in task.sources]
    images = [read(source, suffix) for source, suffix in zip(task.sources, suffixes, strict=True)]
    if layout == "join":
        images, suffixes = [side_by_side(*images)], [suffixes[0] if len(set(suffixes)) == 1 else ".png"]
    elif layout == "edges":
        images, suffixes = [detect_edges(images[0]), images[0]], [recipe.suffix or ".png", *suffixes]
    results = apply_recipe(images, recipe)
    targets = [_target(task, folder, domain) for domain in task.domains]
    if layout == "edges" and not recipe.changes:
        _link(task.path, targets.pop())
    for each, target, suffix in zip(results, targets, suffixes, strict=False):
        _write(each, target, suffix)
    return sum(map(len, results))


def _write(images: Sequence[tuple[str, Pixels]], stem: Path, suffix: str) -> int:
    for ending, image in images:
        write_pixels(image, stem.with_name(f"{stem.name}{ending}{suffix}"))
    return len(images)


def _extract_frames(
    task: Task, folder: Path, recipe: Recipe, every: int, test: float, stop: threading.Event
) -> TaskResult:
    """Neighboring frames are nearly equal, so the test frames are the end of the video, not a random sample."""
    count, (domain,) = 0, task.domains
    try:
        for number, position, image in read_frames(task.path, every):
            if stop.is_set():
                break
            frame_task = replace(task, split="test") if test and position >= 1 - test else task
            target = _target(frame_task, folder, domain)
            results = apply_recipe([image], recipe)[0]
            count += _write(results, target.with_name(f"{target.name}-{number:06d}"), recipe.suffix or ".png")
    except UnreadableImage as error:
        if not count:
            raise
        return TaskResult(task, count, f"{error} The frames before that were extracted.")
    return TaskResult(task, count)
