"""Many files through a translator: which there are, where each goes, and one result for each."""

import glob
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from PIL import Image

from cyclegan.data.layouts import find_images, suffixes
from cyclegan.errors import OutOfMemory, UsageError
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.encode import IMAGE_SUFFIXES, holds, write_image, write_pixels
from cyclegan.imaging.image import Pixels, to_uint8_image
from cyclegan.imaging.source import UnreadableImage
from cyclegan.translation.translator import Translator


@dataclass(frozen=True)
class Job:
    """One image to translate, and where the result goes."""

    source: Path
    target: Path


@dataclass(frozen=True)
class Done:
    """What became of a job; `problem` is a sentence, or None when the target is written."""

    job: Job
    problem: str | None = None


def plan(inputs: Sequence[Path], out: Path, *, overwrite: bool = False, channels: int = 3) -> list[Job]:
    """Where each image of `inputs` (files, folders, patterns such as ``photos/*.jpg``) goes below `out`.

    A folder's tree is kept. A single file goes to `out` itself if that has an image's suffix. A result with more
    `channels` than its format can hold becomes a TIFF. Raises `UsageError`,
    before anything is written, when there is nothing to translate, when a result would replace a file (unless
    `overwrite`) or its own source, or when two results have one name.
    """
    jobs = [Job(source, _fit(out / name, channels)) for given in inputs for source, name in _images_of(given)]
    if not jobs:
        raise UsageError(f"There is no image in {', '.join(map(str, inputs))}.")
    if len(jobs) == 1 and out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir():
        jobs = [Job(jobs[0].source, out)]
    elif len(jobs) > 1 and out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir():
        raise UsageError(f"{len(jobs)} results do not fit into one file {out}; give a folder with -o.")
    targets: dict[Path, Path] = {}
    for job in jobs:
        if job.target in targets:
            raise UsageError(
                f"{targets[job.target]} and {job.source} would both become {job.target}; translate them apart."
            )
        if job.target.exists() and job.target.samefile(job.source):
            raise UsageError(f"{job.source} would be replaced by its own translation; choose another -o.")
        targets[job.target] = job.source
    present = [job.target for job in jobs if job.target.exists()]
    if present and not overwrite:
        raise UsageError(
            f"{present[0]} exists{_and_more(len(present) - 1)}; choose another -o, or replace with --overwrite."
        )
    return jobs


def _fit(target: Path, channels: int) -> Path:
    return target if holds(target.suffix, channels) else target.with_suffix(".tif")


def _and_more(count: int) -> str:
    return f", and {count} more results do" if count else ""


def _images_of(given: Path) -> Iterator[tuple[Path, str]]:
    """Source and name below the output folder."""
    if given.is_dir():
        for path in find_images(given):
            yield path, path.relative_to(given).as_posix()
    elif given.exists():
        if given.suffix.lower() not in IMAGE_SUFFIXES:
            raise UsageError(f"{given} is no image that can be translated; images end in {suffixes()}.")
        yield given, given.name
    else:
        matches = sorted(Path(m) for m in glob.glob(str(given), recursive=True))  # noqa: PTH207  (absolute patterns)
        if not matches:
            raise UsageError(f"{given} does not exist, and no file matches it.")
        for match in matches:
            if match.suffix.lower() in IMAGE_SUFFIXES:
                yield match, match.name


def translate(
    translator: Translator,
    jobs: Sequence[Job],
    *,
    size: int | Literal["keep"] = "keep",
    side_by_side: bool = False,
    alpha: str = "keep",
) -> Iterator[Done]:
    """Do the jobs in their order; an unreadable or too large image is told in its `Done` and does not end the rest.

    `side_by_side` writes input and result beside each other, in 8 bit. `alpha` is "keep" to put it back where the
    file can hold it, or the color that transparent parts are laid on. Raises `CycleGANError` when results cannot be
    written.
    """
    reading = translator.input_spec if alpha == "keep" else translator.input_spec._replace(background=alpha)

    def read(job: Job) -> Pixels | Done:
        try:
            return read_pixels(job.source, reading)
        except UnreadableImage as error:
            return Done(job, str(error))

    def write(job: Job, before: Pixels | Done, after: Pixels | Done) -> Done:
        if isinstance(before, Done):
            return before
        if isinstance(after, Done):
            return after
        if side_by_side:
            write_image(beside(to_uint8_image(before), to_uint8_image(after)), job.target)
        else:
            write_pixels(after if alpha == "keep" else replace(after, alpha=None), job.target)
        return Done(job)

    # While one image is translated, the next is decoded and the last encoded; no more than that is in memory.
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        last: Future[Done] | None = None
        for job, before in _one_ahead(reader, read, jobs):
            after = before if isinstance(before, Done) else _translated(translator, job, before, size)
            if last is not None:
                yield last.result()
            last = writer.submit(write, job, before, after)
        if last is not None:
            yield last.result()


def _one_ahead(
    reader: ThreadPoolExecutor, read: Callable[[Job], Pixels | Done], jobs: Sequence[Job]
) -> Iterator[tuple[Job, Pixels | Done]]:
    """Each job with what was read of it, while the next is being read."""
    coming = reader.submit(read, jobs[0]) if jobs else None
    for number, job in enumerate(jobs):
        assert coming is not None
        now = coming.result()
        coming = reader.submit(read, jobs[number + 1]) if number + 1 < len(jobs) else None
        yield job, now


def _translated(translator: Translator, job: Job, before: Pixels, size: int | Literal["keep"]) -> Pixels | Done:
    try:
        return translator.translate(before, size)
    except OutOfMemory as error:
        return Done(job, f"{job.source}: {error}")


def beside(before: Image.Image, after: Image.Image) -> Image.Image:
    """Both pictures in one, before at the left, in the size of the second."""
    pair = Image.new("RGB", (2 * after.width, after.height))
    pair.paste(before.convert("RGB").resize(after.size, Image.Resampling.BICUBIC), (0, 0))
    pair.paste(after.convert("RGB"), (after.width, 0))
    return pair
