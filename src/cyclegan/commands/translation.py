"""`cyclegan translate`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Optional

import tyro
from typing_extensions import Doc

from cyclegan.commands.options import parse
from cyclegan.config import Direction
from cyclegan.errors import UsageError


@dataclass
class Translate:
    """Translate images with a trained run."""

    run: Annotated[Path, tyro.conf.Positional, Doc("A run folder, a checkpoint, a model folder or an export.")]
    input: Annotated[tuple[Path, ...], tyro.conf.Positional, Doc("Images, folders (their tree is kept) and patterns.")]
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"]), Doc("Folder for the results, or a file for one image.")]
    direction: Annotated[Optional[Direction], Doc("Which way; AtoB, or the only one learned, if not given.")] = None
    size: Annotated[str, Doc("'keep' for the input's size, or pixels of the shorter side.")] = "keep"
    side_by_side: Annotated[bool, Doc("Write before and after in one picture.")] = False
    overwrite: Annotated[bool, Doc("Replace results that exist.")] = False
    device: Annotated[str, Doc("auto, cpu, cuda, mps, ...")] = "auto"


def translate(arguments: list[str]) -> None:
    """`cyclegan translate RUN INPUT -o OUT`."""
    options = parse(Translate, "cyclegan translate", arguments)
    size = _size(options.size)

    from rich.progress import track

    from cyclegan.translation import files
    from cyclegan.translation.translator import Translator

    jobs = files.plan(options.input, options.out, overwrite=options.overwrite)
    translator = Translator.load(options.run, options.direction, options.device)
    results = files.run(translator, jobs, size=size, side_by_side=options.side_by_side)
    failed = 0
    for done in track(results, "Translating", total=len(jobs), disable=not sys.stderr.isatty()):
        if done.problem:
            failed += 1
            print(done.problem, file=sys.stderr)
    print(f"{len(jobs) - failed} of {len(jobs)} images translated to {options.out}")
    if failed:
        raise SystemExit(1)


def _size(text: str) -> int | Literal["keep"]:
    if text == "keep":
        return "keep"
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise UsageError(f"--size is {text!r}; it must be 'keep' or a number of pixels.")
