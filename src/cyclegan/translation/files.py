"""Translating images in files, animated ones (GIF, WebP, APNG) and one from a pipe."""

from __future__ import annotations

import glob
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from PIL import Image, ImageSequence

from cyclegan.data.layouts import find_images
from cyclegan.data.preprocessing import MASK
from cyclegan.errors import CycleGANError, OutOfMemory, UsageError
from cyclegan.imaging.decode import image_size, read_header, read_pixels
from cyclegan.imaging.encode import (
    IMAGE_SUFFIXES,
    LISTED_SUFFIXES,
    require_written_suffix,
    supports_channels,
    write_image,
    write_pixels,
    written_suffix,
)
from cyclegan.imaging.image import Pixels, paste, to_uint8_image
from cyclegan.imaging.source import UnreadableImage
from cyclegan.system.atomic import write_file
from cyclegan.system.remote import RemoteError, existing_in, find_files, is_remote, local_copy

if TYPE_CHECKING:
    from cyclegan.translation.translator import Size, Translator

ANIMATED = {".gif": "GIF", ".webp": "WEBP", ".png": "PNG"}  # suffix -> Pillow's format; it may try no other
# Formats in which the result for a pipe is written; all others become PNG.
STREAM_SUFFIXES = {"JPEG": ".jpg", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp", "NPY": ".npy", "NPZ": ".npz"}


@dataclass(frozen=True)
class Job:
    """An image to translate, and the file for its result."""

    source: Path
    target: Path
    mask: Path | None = None  # of what stays as it is


def find(inputs: Sequence[Path]) -> list[tuple[Path, str]]:
    """The images of `inputs` (files, folders, patterns such as ``photos/*.jpg``), each with its name below the output.

    Inputs may be what `remote.to_path` returns.

    Raises `UsageError` for an input that is missing or not an image, and when there are no images.
    """
    found = [*chain.from_iterable(map(_find_inputs, inputs))]
    if not found:
        raise UsageError(f"There are no images in {', '.join(map(str, inputs))}.")
    return found


def plan(
    found: Sequence[tuple[Path, str]],
    out: Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    channels: int = 3,
    masks: Path | None = None,
    share: tuple[int, int] = (0, 1),
) -> list[Job]:
    """A job for each image that `find` has found, with results below `out`.

    Subfolders are kept. A single image may be written to a file `out`. Results with more `channels` than their format
    can hold become TIFFs. `masks` is one mask, or a folder with a mask for each image, of the same name below it.
    `share` is the number of a process, and that of all; each gets other jobs. Raises `UsageError`, before anything is
    written, when a result would replace a file (unless `overwrite`, or `resume`, which leaves out its job) or its own
    source, when two results have the same path, or when a mask is missing.
    """
    find_mask = _mask_finder(masks)
    jobs = []
    for source, name in found:
        target = out / name
        target = target.with_suffix(written_suffix(target.suffix))
        target = target if supports_channels(target.suffix, channels) else target.with_suffix(".tif")
        jobs.append(Job(source, target, find_mask(source, name)))
    if out.suffix.lower() in IMAGE_SUFFIXES and not out.is_dir():
        if len(jobs) > 1:
            raise UsageError(f"{len(jobs)} results do not fit into one file {out}; give a folder with -o.")
        require_written_suffix(out)
        jobs = [replace(jobs[0], target=out)]
    sources: dict[Path, Path] = {}
    for job in jobs:
        if job.target in sources:
            raise UsageError(
                f"{sources[job.target]} and {job.source} would both be written to {job.target}; "
                "translate them into different folders."
            )
        sources[job.target] = job.source
    jobs = jobs[share[0] :: share[1]]
    exists = existing_in(out)
    existing = [job for job in jobs if exists(job.target)]
    for job in existing:
        remote = is_remote(job.source) or is_remote(job.target)
        if job.source == job.target if remote else job.target.samefile(job.source):
            raise UsageError(f"-o would overwrite the input {job.source}; choose another folder.")
    if resume:
        finished = set(existing)
        return [job for job in jobs if job not in finished]
    if existing and not overwrite:
        more = f" and {len(existing) - 1} more results exist" if len(existing) > 1 else " exists"
        raise UsageError(
            f"{existing[0].target}{more}; choose another -o, or add --overwrite, or --resume to keep what is there."
        )
    return jobs


def _mask_finder(masks: Path | None) -> Callable[[Path, str], Path | None]:
    """A function from an image and its name below the input to its mask; it raises `UsageError` without exactly one."""
    if masks is None or masks.is_file():
        return lambda source, name: masks
    if not masks.is_dir():
        raise UsageError(f"{masks} does not exist; give a folder of masks, or one mask.")
    by_name = defaultdict(list)
    for mask in find_images(masks):
        by_name[mask.relative_to(masks).with_suffix("")].append(mask)

    def find_mask(source: Path, name: str) -> Path:
        found = by_name[Path(name).with_suffix("")]
        if len(found) != 1:
            raise UsageError(
                f"{source} needs one mask {Path(name).with_suffix('')} in {masks}; there are {len(found)}."
            )
        return found[0]

    return find_mask


def _find_inputs(given: Path) -> Iterator[tuple[Path, str]]:
    """Images of one input, each with its name below the output folder."""
    if is_remote(given):
        found = [(path, name) for path, name in find_files(given) if path.suffix.lower() in IMAGE_SUFFIXES]
        if not found:
            raise UsageError(f"There are no images at {given}; images end in {LISTED_SUFFIXES}.")
        yield from found
    elif given.is_dir():
        for path in find_images(given):
            yield path, path.relative_to(given).as_posix()
    elif given.exists():
        if given.suffix.lower() not in IMAGE_SUFFIXES:
            raise UsageError(f"{given} is not an image that can be translated; images end in {LISTED_SUFFIXES}.")
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
    size: Size = "keep",
    side_by_side: bool = False,
    alpha: str = "keep",
    save_masks: bool = False,
    keep: Literal["outside", "inside"] = "outside",
) -> Iterator[str | None]:
    """Run the jobs in order. Yields None for each written target, or a sentence about the image that has none.

    Images that cannot be read or are too large do not end the rest. `side_by_side` writes input and result next to
    each other, in 8 bits. `alpha` is "keep" to restore it where the format can hold it, or the color behind transparent
    parts. `keep` is the part of the jobs' masks in which the input stays. `save_masks` also writes what the generator
    changed, next to each result. Raises `CycleGANError` when a result cannot be written, and `UsageError` for masks of
    a generator that has none.
    """
    masks = translator.masks() if save_masks else None
    spec = translator.input_spec if alpha == "keep" else translator.input_spec._replace(background=alpha)

    def read(job: Job) -> tuple[Pixels, Pixels | None] | str:
        name = str(job.source)
        try:
            with local_copy(job.source) as path:
                name = str(path)
                return read_pixels(path, spec), None if job.mask is None else read_pixels(job.mask, MASK)
        except (RemoteError, UnreadableImage) as error:
            return str(error).replace(name, str(job.source))

    def write(job: Job, before: Pixels | str, after: Pixels | str) -> str | None:
        if not (isinstance(before, Pixels) and isinstance(after, Pixels)):
            return str(after)
        if masks is not None:
            changed = masks.translate(before, size)
            for number in range(masks.out_channels):
                name = f"{job.target.stem}-mask{number + 1 if masks.out_channels > 1 else ''}.png"
                write_image(to_uint8_image(changed.values[..., number : number + 1]), job.target.with_name(name))
        if side_by_side:
            right = to_uint8_image(after).convert("RGB")
            both = Image.new("RGB", (2 * right.width, right.height))
            both.paste(to_uint8_image(before).convert("RGB").resize(right.size, Image.Resampling.BICUBIC))
            both.paste(right, (right.width, 0))
            write_image(both, job.target)
        else:
            write_pixels(after if alpha == "keep" else replace(after, alpha=None), job.target)
        return None

    # While one image is translated, the next is decoded and the previous encoded; no others are in memory.
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        reading = [reader.submit(read, job) for job in jobs[:1]]
        writing: list[Future[str | None]] = []
        for number, job in enumerate(jobs, 1):
            found = reading.pop().result()
            before, mask = (found, None) if isinstance(found, str) else found
            reading += [reader.submit(read, following) for following in jobs[number : number + 1]]
            try:
                after = translator.translate(before, size) if isinstance(before, Pixels) else before
                if isinstance(before, Pixels) and isinstance(after, Pixels) and mask is not None:
                    after = paste(after, before, mask, keep)
            except OutOfMemory as error:
                after = f"{job.source}: {error}"
            if writing:
                yield writing.pop().result()
            writing.append(writer.submit(write, job, before, after))
        yield from (future.result() for future in writing)


def scale_note(translator: Translator, sources: Iterable[Path]) -> str | None:
    """`Translator.scale_note` of the first of these images that has one; of files elsewhere, none is read."""
    for source in islice((each for each in sources if not is_remote(each)), 100):
        with suppress(UnreadableImage):
            if note := translator.scale_note(source, image_size(source)):
                return note
    return None


def is_animation(source: Path) -> bool:
    """Whether a file is an animated image, or any GIF."""
    if source.suffix.lower() not in ANIMATED or not source.is_file():
        return False
    try:
        with Image.open(source, formats=list(ANIMATED.values())) as image:
            return image.format == "GIF" or bool(getattr(image, "is_animated", False))
    except Exception:  # decoders raise nearly anything; damaged files are reported when they are read
        return False


def translate_animation(translator: Translator, source: Path, target: Path, *, size: Size = "keep") -> int:
    """Translate every frame of an animation into a new file, and return their number.

    Durations of frames and the number of repetitions are kept. Raises `UsageError` for a target that cannot be
    animated, and `CycleGANError` for a source that cannot be read.
    """
    if target.suffix.lower() not in ANIMATED:
        raise UsageError(f"{target} cannot be animated; use {', '.join(ANIMATED)}, or for videos .mp4 or .webm.")
    frames, durations = [], []
    try:
        with Image.open(source, formats=list(ANIMATED.values())) as image:
            loop = image.info.get("loop")
            for frame in ImageSequence.Iterator(image):
                frame.load()  # only then is its duration known
                durations.append(float(frame.info.get("duration", 100)))
                transparent = frame.mode in ("RGBA", "LA", "PA") or "transparency" in frame.info
                frames.append(translator.translate(frame.convert("RGBA" if transparent else "RGB"), size))
    except CycleGANError:
        raise
    except Exception:  # as above
        raise CycleGANError(f"{source} is damaged: it cannot be decoded.") from None
    settings: dict[str, Any] = {"save_all": True, "append_images": frames[1:], "duration": durations}
    settings |= {} if loop is None else {"loop": loop}
    settings |= {"lossless": True} if target.suffix.lower() == ".webp" else {}
    write_file(target, lambda temporary: frames[0].save(temporary, **settings))
    return len(frames)


def translate_image_stream(
    translator: Translator, source: IO[bytes], target: IO[bytes] | Path, *, size: Size = "keep"
) -> str | None:
    """Translate the image that a stream holds into a file, or into a stream in the same format (or else as PNG).

    Returns its `Translator.scale_note`, if it keeps its size. Raises `UnreadableImage` when it is not an image.
    """
    with tempfile.TemporaryDirectory() as folder:
        received = Path(folder) / "standard-input"
        received.write_bytes(source.read())
        pixels = read_pixels(received, translator.input_spec)
        translated = translator.translate(pixels, size)
        note = translator.scale_note("The image", pixels.size) if size == "keep" else None
        if isinstance(target, Path):
            write_pixels(translated, target)
            return note
        result = Path(folder) / f"result{STREAM_SUFFIXES.get(read_header(received).kind, '.png')}"
        write_pixels(translated, result)
        target.write(result.read_bytes())
        target.flush()
        return note
