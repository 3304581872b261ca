"""`cyclegan data prepare`."""

import re
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command
from cyclegan.cli.settings import NO_DEFAULT, OptionalInt, OptionalPath, OptionalText, Switch
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.methods.registry import names_by_layout
from cyclegan.system.text import quote

if TYPE_CHECKING:
    from cyclegan.data.prepare.plan import Layout
    from cyclegan.data.prepare.run import Recipe


@dataclass
class Options:
    """Options of `cyclegan data prepare`."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"]), Doc("Folder to create.")]
    source: Annotated[
        OptionalPath, tyro.conf.Positional, Doc("Folder with two folders of images, with any names; see also below.")
    ] = None
    a: Annotated[OptionalPath, Doc("Folder or video of domain A, instead of SOURCE; requires --b.")] = None
    b: Annotated[OptionalPath, Doc("Folder or video of domain B, instead of SOURCE; requires --a.")] = None
    test: Annotated[float, Doc("Fraction to hold out as test images, if there are none; of a video, its end.")] = 0.1
    seed: Annotated[int, Doc("Seed for choosing the test images.")] = 0
    size: Annotated[OptionalText, Doc("Resize: pixels of the shorter side, such as 286, or 256x256.")] = None
    format: Annotated[
        Optional[Literal["png", "jpg", "webp", "tif"]], NO_DEFAULT, Doc("Convert to this image format.")
    ] = None
    crops: Annotated[OptionalInt, Doc("Cut into squares of this many pixels that cover the image.")] = None
    overlap: Annotated[int, Doc("Pixels by which neighboring squares overlap.")] = 0
    every: Annotated[int, Doc("Use every n-th frame of a video.")] = 10
    join: Annotated[Switch, Doc("Join pairs with the same name into one file each, A on the left.")] = False
    halve: Annotated[Switch, Doc("Split files with A and B side by side into two folders.")] = False
    edges: Annotated[Switch, Doc("SOURCE is one folder of photos: they become B, and their edges A.")] = False


@command("data prepare")
def prepare(options: Annotated[Options, tyro.conf.arg(name="")]) -> None:
    """Split, resize, crop, join, halve; video frames; edges.

    Unchanged images are linked, or copied where links are impossible.

    For example
      cyclegan data prepare photos_and_paintings -o data/art
      cyclegan data prepare --a summer.mp4 --b winter/ -o data/walk --every 5
      cyclegan data prepare shoes -o data/edges2shoes --edges
    """
    layout, recipe = _layout(options), _recipe(options)

    from rich.console import Console
    from rich.progress import track

    from cyclegan.data.check.check import escape_unprintable
    from cyclegan.data.get.staging import new_folder
    from cyclegan.data.layouts import NAMES, domain_names
    from cyclegan.data.prepare.plan import plan
    from cyclegan.data.prepare.run import run

    tasks, names, notes = plan(layout, options.source, options.a, options.b, test=options.test, seed=options.seed)
    for note in notes:
        print(escape_unprintable(note))
    console, skipped = Console(stderr=True), 0
    with (
        new_folder(options.output) as folder,
        closing(run(tasks, folder, layout, recipe, every=options.every, test=options.test)) as results,
    ):
        silent = not console.is_terminal
        for result in track(results, "Preparing", len(tasks), console=console, transient=True, disable=silent):
            skipped += result.files == 0
            if result.problem:
                print(escape_unprintable(result.problem), file=sys.stderr)
        counts = {each.name: sum(f.is_file() for f in each.rglob("*")) for each in sorted(folder.iterdir())}
        if not counts:
            raise CycleGANError(
                f"None of the {len(tasks)} files could be prepared, so {options.output} was not written."
            )
        if domain_names(options.output) == ("A", "B") != names:  # else the folder's own name says them
            (folder / NAMES).write_text("\n".join(names) + "\n", encoding="utf-8")
    note = f"; {skipped} skipped, see above" if skipped else ""
    print(f"{options.output}: {', '.join(f'{count:,} in {name}' for name, count in counts.items())}{note}.")
    method = "" if layout == "folders" else f" --method {names_by_layout('paired')[0]}"
    print(f"Check it with: cyclegan data check {quote(options.output)}{method}")


def _layout(options: Options) -> "Layout":
    chosen: list[Layout] = []
    chosen += ["join"] if options.join else []
    chosen += ["halve"] if options.halve else []
    chosen += ["edges"] if options.edges else []
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} cannot be combined; run `data prepare` once for each.")
    if chosen in (["halve"], ["edges"]) and (options.a or options.b or options.source is None):
        raise UsageError(f"--{chosen[0]} takes one folder, SOURCE, instead of --a and --b.")
    return chosen[0] if chosen else "folders"


def _recipe(options: Options) -> "Recipe":
    """The recipe for each image. Raises `UsageError` for invalid options."""
    from cyclegan.data.prepare.run import Recipe

    if not 0 <= options.test < 1:
        raise UsageError(f"--test is {options.test}; it must be a fraction, at least 0 and less than 1.")
    if options.every < 1:
        raise UsageError(f"--every is {options.every}; it must be at least 1.")
    if options.crops is not None and options.crops < 8:
        raise UsageError(f"--crops is {options.crops}; it must be at least 8 pixels.")
    if not 0 <= options.overlap < (options.crops or 1):
        raise UsageError(f"--overlap is {options.overlap}; it must be at least 0 and less than --crops.")
    found = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", options.size or "1")
    if found is None:
        raise UsageError(f"--size is {options.size!r}; it must be a number of pixels, or two such as 256x256.")
    size = None if options.size is None else (int(found[1]), int(found[2])) if found[2] else int(found[1])
    return Recipe(size, options.crops, options.overlap, options.format and f".{options.format}")
