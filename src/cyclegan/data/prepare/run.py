"""Running the tasks of a plan on all CPU cores: what is done to each image, and where it is written."""

import os
import shutil
import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from cyclegan.data.prepare.plan import Layout, Task, is_video, make_names_unique
from cyclegan.data.preprocessing import COMPANIONS
from cyclegan.imaging.decode import read_header, read_labels, read_pixels
from cyclegan.imaging.encode import supports_channels, write_pixels, written_suffix
from cyclegan.imaging.image import DecodeSpec, Pixels, resize, to_uint8_image
from cyclegan.imaging.source import Source, UnreadableImage, UnsupportedImage, open_image, path_of
from cyclegan.imaging.video import read_frames
from cyclegan.system.machine import cpu_count
from cyclegan.system.optional import optional_import

CHANNELS = {"L": 1, "1": 1, "I;16": 1, "I": 1, "F": 1, "LA": 2, "RGBA": 4, "RGBa": 4}  # of modes; 3 for all others
SIGMA = 2.0  # pixels, of the Gaussian blur before edge detection


@dataclass(frozen=True)
class Recipe:
    """What to do to each image, in this order; nothing by default.

    `size` is the shorter side, or (width, height). Crops are squares of `crops` pixels that share `overlap` pixels.
    """

    size: int | tuple[int, int] | None = None
    crops: int | None = None
    overlap: int = 0
    suffix: str | None = None  # of the results, such as ".png"; None for that of the source

    @property
    def changes(self) -> bool:
        """Whether images must be decoded."""
        return (self.size, self.crops, self.suffix) != (None, None, None)


class LabelMap(Pixels):
    """Class numbers, which are resized by taking the nearest."""

    def resize(self, size: tuple[int, int]) -> Pixels:
        """The map resized to (width, height)."""
        return replace(self, values=resize(self.values, size, labels=True))


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
    images, suffixes = [], []
    for source, domain in zip(task.sources, [*task.domains, *[""] * len(task.sources)], strict=False):
        is_companion = domain.startswith(tuple(COMPANIONS))  # whose values JPEG would change
        suffixes.append(".png" if is_companion else recipe.suffix or written_suffix(path_of(source).suffix))
        is_labels = domain.startswith("label")
        images.append(LabelMap(read_labels(source)) if is_labels else _read(source, suffixes[-1]))
    if layout == "join":
        images, suffixes = [_side_by_side(*images)], [suffixes[0] if len(set(suffixes)) == 1 else ".png"]
    elif layout == "edges":
        images, suffixes = [_detect_edges(images[0]), images[0]], [recipe.suffix or ".png", *suffixes]
    results = _apply_recipe(images, recipe)
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
            results = _apply_recipe([image], recipe)[0]
            count += _write(results, target.with_name(f"{target.name}-{number:06d}"), recipe.suffix or ".png")
    except UnreadableImage as error:
        if not count:
            raise
        return TaskResult(task, count, f"{error} The frames before that were extracted.")
    return TaskResult(task, count)


def _read(source: Source, suffix: str) -> Pixels:
    """Read an image in its own channels and depth, without alpha if files with this suffix cannot have it.

    Raises `UnreadableImage`.
    """
    channels = CHANNELS.get(read_header(source).mode, 3)
    return read_pixels(source, DecodeSpec(channels if supports_channels(suffix, channels) else channels - 1))


def _side_by_side(a: Pixels, b: Pixels) -> Pixels:
    """Both images in one, at the size of the first, in 8 bit color."""
    images = [to_uint8_image(each).convert("RGB") for each in (a, b.resize(a.size))]
    return Pixels(np.concatenate([np.asarray(each) for each in images], 1))


def _detect_edges(image: Pixels) -> Pixels:
    """Black edges on white, (H, W, 1), by Canny's detector. Raises `UsageError` without scikit-image."""
    canny = optional_import("skimage.feature", "edges").canny
    edges = canny(np.asarray(to_uint8_image(image).convert("L"), np.float32) / 255, SIGMA)
    return Pixels(np.where(edges, 0, 255).astype(np.uint8)[..., None])


def _apply_recipe(images: Sequence[Pixels], recipe: Recipe) -> list[list[tuple[str, Pixels]]]:
    """For one image, or each of a pair: the results with their name endings. Raises `UnsupportedImage`."""
    if isinstance(size := recipe.size, int):
        scales = [size / min(image.size) for image in images]
        sizes = [[max(1, round(side * s)) for side in image.size] for image, s in zip(images, scales, strict=True)]
        images = [image.resize((w, h)) for image, (w, h) in zip(images, sizes, strict=True)]
    elif size is not None:
        images = [image.resize(size) for image in images]
    if recipe.crops is None:
        return [[("", image)] for image in images]
    if len({image.size for image in images}) > 1:
        raise UnsupportedImage("and its partner differ in size, so their crops would not be pairs; add --size 512x512")
    return [list(_crops(image, recipe.crops, recipe.overlap)) for image in images]


def _crops(image: Pixels, side: int, overlap: int) -> Iterator[tuple[str, Pixels]]:
    width, height = image.size
    if min(width, height) < side:
        raise UnsupportedImage(f"has {width}x{height} pixels, too few for crops of {side}x{side}")
    for row, top in enumerate(crop_starts(height, side, overlap)):
        for column, left in enumerate(crop_starts(width, side, overlap)):
            crop = image.crop((left, top, left + side, top + side))
            yield f"-r{row}-c{column}", replace(crop, values=np.ascontiguousarray(crop.values))


def crop_starts(length: int, side: int, overlap: int) -> list[int]:
    """Start positions of crops that cover everything; the last one is moved inward."""
    return [*range(0, length - side, side - overlap), length - side]
