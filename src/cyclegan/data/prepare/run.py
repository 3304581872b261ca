"""Doing the tasks on all processors."""

import os
import shutil
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from cyclegan.data.prepare.pictures import Recipe, edges, joined, prepared, read
from cyclegan.data.prepare.plan import Layout, Task, file_of, unlike
from cyclegan.imaging.encode import write_pixels
from cyclegan.imaging.image import Pixels
from cyclegan.imaging.source import UnreadableImage, UnsupportedImage, open_image
from cyclegan.imaging.video import read_frames
from cyclegan.system.machine import cpu_count


@dataclass(frozen=True)
class Done:
    """What became of a task: the number of files made, and what was wrong if some or all could not be."""

    task: Task
    files: int = 0
    problem: str | None = None


def run(
    tasks: Sequence[Task], folder: Path, layout: Layout, recipe: Recipe, *, every: int = 1, test: float = 0.0
) -> Generator[Done, None, None]:
    """Do all tasks, in their order. Files are linked where nothing is to be changed, or copied where links cannot be.

    `every` is of frames of videos, whose last share `test` is to test on. Raises `CycleGANError` when files cannot be
    written.
    """
    stop = threading.Event()
    work = partial(_do, folder=folder, layout=layout, recipe=recipe, every=every, test=test, stop=stop)
    pool = ThreadPoolExecutor(cpu_count())  # decoding, resizing and encoding need no interpreter
    try:
        yield from pool.map(work, unlike(tasks))
    finally:
        stop.set()  # a long video would go on for as long as it is
        pool.shutdown(cancel_futures=True)


def _do(
    task: Task, folder: Path, layout: Layout, recipe: Recipe, every: int, test: float, stop: threading.Event
) -> Done:
    try:
        if task.is_video:
            return _film(task, folder, recipe, every, test, stop)
        if layout == "folders" and not recipe.changes:
            return Done(task, _link(task, folder))
        return Done(task, _convert(task, folder, layout, recipe))
    except UnreadableImage as error:
        return Done(task, problem=str(error))
    except UnsupportedImage as error:
        return Done(task, problem=f"{task.first} {error}.")


def _link(task: Task, folder: Path) -> int:
    for source in task.sources:
        with open_image(file_of(source)):  # all of a pair, or nothing
            pass
    for source, domain in zip(task.sources, task.domains, strict=True):
        _link_one(file_of(source), _place(task, folder, domain))
    return len(task.sources)


def _link_one(source: Path, path: Path) -> None:
    target = path.with_name(path.name + source.suffix)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(os.path.realpath(source), target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)


def _place(task: Task, folder: Path, domain: str) -> Path:
    """Where a result goes, without suffix."""
    return folder / f"{task.split}{domain}" / task.name


def _convert(task: Task, folder: Path, layout: Layout, recipe: Recipe) -> int:
    """Decode and change; of a pair both are written, or neither."""
    suffixes = [recipe.suffix or file_of(source).suffix for source in task.sources]
    images = [read(source, suffix) for source, suffix in zip(task.sources, suffixes, strict=True)]
    if layout == "join":
        images, suffixes = [joined(*images)], [suffixes[0] if len(set(suffixes)) == 1 else ".png"]
    elif layout == "edges":
        images, suffixes = [edges(images[0]), images[0]], [recipe.suffix or ".png", *suffixes]
    made = prepared(images, recipe)
    places = [_place(task, folder, domain) for domain in task.domains]
    if layout == "edges" and not recipe.changes:
        _link_one(task.first, places.pop())
    for each, place, suffix in zip(made, places, suffixes, strict=False):
        _write(each, place, suffix)
    return sum(map(len, made))


def _write(images: Sequence[tuple[str, Pixels]], path: Path, suffix: str) -> int:
    for end, image in images:
        write_pixels(image, path.with_name(f"{path.name}{end}{suffix}"))
    return len(images)


def _film(task: Task, folder: Path, recipe: Recipe, every: int, test: float, stop: threading.Event) -> Done:
    """Frames next to each other are nearly equal, so that the end of the video is put aside, not some between."""
    count, (domain,) = 0, task.domains
    try:
        for number, share, image in read_frames(task.first, every):
            if stop.is_set():
                break
            late = replace(task, split="test") if test and share >= 1 - test else task
            place = _place(late, folder, domain)
            made = prepared([image], recipe)[0]
            count += _write(made, place.with_name(f"{place.name}-{number:06d}"), recipe.suffix or ".png")
    except UnreadableImage as error:
        if not count:
            raise
        return Done(task, count, f"{error} What comes before that was taken.")
    return Done(task, count)
