"""Doing the tasks: on all processors, into a folder that appears whole or not at all."""

import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cyclegan.data.checking.looks import processors
from cyclegan.data.images import write_pixels
from cyclegan.data.pixels import Pixels
from cyclegan.data.preparing.frames import frames
from cyclegan.data.preparing.pictures import Recipe, edges, joined, prepared, read
from cyclegan.data.preparing.plan import Layout, Task, unlike
from cyclegan.data.sources import Half, UnreadableImage


@dataclass(frozen=True)
class Done:
    """What became of a task: the files made, or why there are none."""

    task: Task
    files: int = 0
    problem: str | None = None


def run(
    tasks: Sequence[Task], folder: Path, layout: Layout, recipe: Recipe, *, every: int = 1, test: float = 0.0
) -> Iterator[Done]:
    """Do all tasks, in their order. Files are linked where nothing is to be changed, or copied where links cannot be.

    `every` is of frames of videos, whose last share `test` is to test on. Raises `CycleGANError` when files cannot be
    written.
    """
    work = partial(_do, folder=folder, layout=layout, recipe=recipe, every=every, test=test)
    pool = ThreadPoolExecutor(processors())  # decoding, resizing and encoding need no interpreter
    try:
        yield from pool.map(work, unlike(tasks))
    finally:
        pool.shutdown(cancel_futures=True)


def _do(task: Task, folder: Path, layout: Layout, recipe: Recipe, every: int, test: float) -> Done:
    try:
        if task.is_video:
            return Done(task, _film(task, folder, recipe, every, test))
        if layout == "folders" and not recipe.changes:
            return Done(task, _link(task, folder))
        return Done(task, _convert(task, folder, layout, recipe))
    except UnreadableImage as error:
        said = str(error)
        return Done(task, problem=said if said.startswith(str(task.first.parent)) else f"{task.first} {said}.")


def _link(task: Task, folder: Path) -> int:
    for source, domain in zip(task.sources, task.domains, strict=True):
        assert not isinstance(source, Half)
        target = folder / f"{task.split}{domain}" / task.name.with_name(task.name.name + source.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(os.path.realpath(source), target)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(source, target)
    return len(task.sources)


def _convert(task: Task, folder: Path, layout: Layout, recipe: Recipe) -> int:
    images = [read(source) for source in task.sources]
    if layout == "join":
        images = [joined(*images)]
    elif layout == "edges":
        images = [edges(images[0]), images[0]]
    made = [list(prepared(image, recipe)) for image in images]  # all of a pair, or nothing
    return sum(
        _write(each, folder / f"{task.split}{domain}" / task.name, recipe.suffix or task.first.suffix)
        for each, domain in zip(made, task.domains, strict=True)
    )


def _write(images: Sequence[tuple[str, Pixels]], path: Path, suffix: str) -> int:
    for end, image in images:
        write_pixels(image, path.with_name(f"{path.name}{end}{suffix}"))
    return len(images)


def _film(task: Task, folder: Path, recipe: Recipe, every: int, test: float) -> int:
    """Frames next to each other are nearly equal, so that the end of the video is put aside, not some between."""
    count, (domain,) = 0, task.domains
    for number, share, image in frames(task.first, every):
        split = "test" if test and share >= 1 - test else "train"
        path = folder / f"{split}{domain}" / task.name.with_name(f"{task.name.name}-{number:06d}")
        count += _write(list(prepared(image, recipe)), path, recipe.suffix or ".png")
    return count
