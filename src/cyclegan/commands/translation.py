"""`cyclegan translate`."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import tyro
from typing_extensions import Doc

from cyclegan.commands.options import parse
from cyclegan.config import Direction
from cyclegan.errors import UsageError
from cyclegan.pixel_words import COLOUR_FORM, parse_colour

if TYPE_CHECKING:
    from rich.progress import Progress


@dataclass
class Translate:
    """Translate images with a trained run."""

    run: Annotated[Path, tyro.conf.Positional, Doc("A run folder, a checkpoint, a model folder or an export.")]
    input: Annotated[tuple[Path, ...], tyro.conf.Positional, Doc("Images, folders (their tree is kept) and patterns.")]
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"]), Doc("Folder for the results, or a file for one image.")]
    direction: Annotated[Optional[Direction], Doc("Which way; AtoB, or the only one learned, if not given.")] = None
    size: Annotated[str, Doc("'keep' for the input's size, or pixels of the shorter side.")] = "keep"
    side_by_side: Annotated[bool, Doc("Write before and after in one picture.")] = False
    alpha: Annotated[str, Doc("'keep' puts transparency back; white, black or #rrggbb is laid under it.")] = "keep"
    overwrite: Annotated[bool, Doc("Replace results that exist.")] = False
    device: Annotated[str, Doc("auto, cpu, cuda, mps, ...")] = "auto"
    winograd: Annotated[
        bool, Doc("Faster convolutions on processors, equal to float rounding (Lavin and Gray 2016).")
    ] = True
    memory: Annotated[Optional[str], Doc("Most memory to take, as 2GiB; most of what is free if not given.")] = None
    blend: Annotated[bool, Doc("Translate what does not fit in windows, without temporary files: not exact.")] = False


def translate(arguments: list[str]) -> None:
    """`cyclegan translate RUN INPUT -o OUT`."""
    options = parse(Translate, "cyclegan translate", arguments)
    size = _size(options.size)
    _require_alpha(options.alpha)

    from rich.progress import Progress

    from cyclegan.translation import files
    from cyclegan.translation.translator import Translator

    translator = Translator.load(
        options.run, options.direction, options.device, options.memory, winograd=options.winograd
    )
    translator.any_size.blend = options.blend
    channels = 3 if options.side_by_side else translator.out_channels
    jobs = files.plan(options.input, options.out, overwrite=options.overwrite, channels=channels)
    results = files.run(translator, jobs, size=size, side_by_side=options.side_by_side, alpha=options.alpha)
    failed = 0
    with Progress(disable=not sys.stderr.isatty()) as progress:
        translator.any_size.progress = _bar_of_parts(progress, "windows" if options.blend else "bands")
        for done in progress.track(results, len(jobs), description="Translating"):
            if done.problem:
                failed += 1
                print(done.problem, file=sys.stderr)
    print(f"{len(jobs) - failed} of {len(jobs)} images translated to {options.out}")
    if any(job.target.suffix == ".tif" != job.source.suffix for job in jobs) and len(jobs) > 1:
        print(f"Results have {channels} channels, which not every kind of file can hold; those are .tif.")
    overlaps = translator.any_size.overlaps
    if overlaps.count:
        print(
            f"{overlaps.windows} windows were blended; where they overlap they differ by {overlaps.mean:.1f} of 255 "
            f"levels in the mean and {overlaps.largest:.0f} at most. Without --blend the result is exact."
        )
    if failed:
        raise SystemExit(1)


def _bar_of_parts(progress: "Progress", parts: str) -> Callable[[int, int], None]:
    """A second bar while an image is translated in parts."""
    bar = progress.add_task(f"  {parts}", visible=False)

    def tell(done: int, total: int) -> None:
        progress.update(bar, completed=done, total=total, visible=done < total)

    return tell


def _require_alpha(text: str) -> None:
    try:
        _ = text == "keep" or parse_colour(text)
    except ValueError:
        raise UsageError(f"--alpha is {text!r}; it must be keep, {COLOUR_FORM}.") from None


def _size(text: str) -> int | Literal["keep"]:
    if text == "keep":
        return "keep"
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise UsageError(f"--size is {text!r}; it must be 'keep' or a number of pixels.")
