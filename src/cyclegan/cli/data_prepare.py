"""`cyclegan data prepare`."""

import re
import shlex
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import tyro
from typing_extensions import Doc

from cyclegan.cli.options import parse
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.methods.registry import names_by_layout

if TYPE_CHECKING:
    from cyclegan.data.prepare.pictures import Recipe
    from cyclegan.data.prepare.plan import Layout


@dataclass
class Prepare:
    """Make a data set ready once: split it, resize, cut, join or halve its images, take frames of video or edges.

    Without a change to the images, files are linked, or copied where links cannot be.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"]), Doc("Folder to make.")]
    source: Annotated[
        Optional[Path], tyro.conf.Positional, Doc("Folder with two folders of images, of any names; or as below.")
    ] = None
    a: Annotated[Optional[Path], Doc("Folder or video of domain A, instead of SOURCE; goes with --b.")] = None
    b: Annotated[Optional[Path], Doc("Folder or video of domain B, instead of SOURCE; goes with --a.")] = None
    test: Annotated[float, Doc("Share to test on, if there are no test images; of a video its end.")] = 0.1
    seed: Annotated[int, Doc("Decides which are to test on.")] = 0
    size: Annotated[Optional[str], Doc("Resize: pixels of the shorter side, such as 286, or 256x256.")] = None
    format: Annotated[Optional[Literal["png", "jpg", "webp", "tif"]], Doc("Convert to this format.")] = None
    crops: Annotated[Optional[int], Doc("Cut into squares of so many pixels a side, which cover everything.")] = None
    overlap: Annotated[int, Doc("Pixels that neighboring squares share.")] = 0
    every: Annotated[int, Doc("Of a video take every so many-th frame.")] = 10
    join: Annotated[bool, Doc("Join pairs of equal names to files side by side, A at the left.")] = False
    halve: Annotated[bool, Doc("Split files side by side into two folders.")] = False
    edges: Annotated[bool, Doc("SOURCE is one folder of photos: they become B, and their edges A.")] = False


def prepare(arguments: list[str]) -> None:
    """`cyclegan data prepare SOURCE -o DIR`."""
    options = parse(Prepare, "cyclegan data prepare", arguments)
    layout, recipe = _layout(options), _recipe(options)

    from rich.console import Console
    from rich.progress import track

    from cyclegan.data.check.check import escape_unprintable
    from cyclegan.data.get.staging import new_folder
    from cyclegan.data.prepare.plan import plan
    from cyclegan.data.prepare.run import run

    tasks, notes = plan(layout, options.source, options.a, options.b, test=options.test, seed=options.seed)
    for note in notes:
        print(escape_unprintable(note))
    console, lost = Console(stderr=True), 0
    with (
        new_folder(options.output) as folder,
        closing(run(tasks, folder, layout, recipe, every=options.every, test=options.test)) as results,
    ):
        silent = not console.is_terminal
        for done in track(results, "Preparing", len(tasks), console=console, transient=True, disable=silent):
            lost += done.files == 0
            if done.problem:
                print(escape_unprintable(done.problem), file=sys.stderr)
        counts = {each.name: sum(f.is_file() for f in each.rglob("*")) for each in sorted(folder.iterdir())}
        if not counts:
            raise CycleGANError(
                f"Nothing could be made of the {len(tasks)} files, so {options.output} was not written."
            )
    left_out = f"; {lost} left out, named above" if lost else ""
    print(f"{options.output}: {', '.join(f'{count:,} in {name}' for name, count in counts.items())}{left_out}.")
    method = "" if layout == "folders" else f" --method {names_by_layout('paired')[0]}"
    print(f"Look at it with: cyclegan data check {shlex.quote(str(options.output))}{method}")


def _layout(options: Prepare) -> "Layout":
    chosen: list[Layout] = []
    chosen += ["join"] if options.join else []
    chosen += ["halve"] if options.halve else []
    chosen += ["edges"] if options.edges else []
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} cannot go together; prepare one after the other.")
    if chosen in (["halve"], ["edges"]) and (options.a or options.b or options.source is None):
        raise UsageError(f"--{chosen[0]} takes one folder, SOURCE, and neither --a nor --b.")
    return chosen[0] if chosen else "folders"


def _recipe(options: Prepare) -> "Recipe":
    """What is done to each image. Raises `UsageError` for what cannot be."""
    from cyclegan.data.prepare.pictures import Recipe

    if not 0 <= options.test < 1:
        raise UsageError(f"--test is {options.test}; it must be a share, at least 0 and less than 1.")
    if options.every < 1:
        raise UsageError(f"--every is {options.every}; it must be at least 1.")
    if options.crops is not None and options.crops < 8:
        raise UsageError(f"--crops is {options.crops}; it must be at least 8 pixels.")
    if not 0 <= options.overlap < (options.crops or 1):
        raise UsageError(f"--overlap is {options.overlap}; it must be at least 0 and less than --crops.")
    found = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", options.size or "1")
    if found is None:
        raise UsageError(f"--size is {options.size!r}; it must be a number of pixels, or two as 256x256.")
    size = None if options.size is None else (int(found[1]), int(found[2])) if found[2] else int(found[1])
    return Recipe(size, options.crops, options.overlap, options.format and f".{options.format}")
