"""`cyclegan data list` and `cyclegan data get`: what there is, and getting it."""

import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Optional

import tyro
from typing_extensions import Doc

from cyclegan.cli.options import parse
from cyclegan.errors import UsageError
from cyclegan.methods.registry import names_by_layout

PLAIN_SECONDS = 10.0  # between two lines in a log
SEASONS_ONLY = ("size", "train", "test", "paired")


@dataclass
class Get:
    """Write a data set into a folder: one of `cyclegan data list`, or hf:user/name of the Hugging Face hub."""

    name: Annotated[str, tyro.conf.Positional, Doc("Name of the data set, or hf:user/name, or hf:user/name:A,B.")]
    output: Annotated[Optional[Path], tyro.conf.arg(aliases=["-o"]), Doc("Folder to make; data/NAME if not given.")] = (
        None
    )
    from_file: Annotated[Optional[Path], Doc("Take this archive instead of downloading one.")] = None
    size: Annotated[int, Doc("seasons: width and height of the images, pixels.")] = 64
    train: Annotated[int, Doc("seasons: training images of each domain.")] = 400
    test: Annotated[int, Doc("seasons: test images of each domain; these are pairs.")] = 32
    paired: Annotated[
        bool, Doc("seasons: training images are pairs too, for pix2pix; the folder is data/NAME-paired.")
    ] = False


@dataclass
class List:
    """Show the data sets that are known by name."""


def get(arguments: list[str]) -> None:
    """`cyclegan data get NAME`."""
    options = parse(Get, "cyclegan data get", arguments)
    if options.name == "seasons":
        _draw_seasons(options)
        return
    for field in fields(Get):
        if field.name in SEASONS_ONLY and getattr(options, field.name) != field.default:
            raise UsageError(f"--{field.name} is for seasons only, not for {options.name}.")
    if options.name.startswith("hf:"):
        _get_from_hub(options)
    else:
        _get_public(options)


def _draw_seasons(options: Get) -> None:
    if options.from_file is not None:
        raise UsageError("--from-file is not for seasons, which is drawn here.")
    from cyclegan.data.get import seasons

    to = options.output or Path("data") / (options.name + ("-paired" if options.paired else ""))
    seasons.write(to, size=options.size, train=options.train, test=options.test, paired=options.paired)
    count = options.train
    scenes = f"{count} scenes in summer and winter" if options.paired else f"{count} summers, {count} winters"
    print(f"{to}: {scenes}, and {options.test} test scenes in both.")


def _get_public(options: Get) -> None:
    from cyclegan.data.get.catalogue import find

    entry = find(options.name)
    to = options.output or Path("data") / entry.name

    from cyclegan.data.get.download import kept_words, obtain, unfinished

    try:
        with ProgressWatch(entry.name) as watch:
            obtained = obtain(entry, to, watch, options.from_file)
    except KeyboardInterrupt:
        if unfinished(entry, to).exists():
            print(kept_words(unfinished(entry, to)), file=sys.stderr)
        raise
    print(f"{to}: {obtained.holds}.")
    for remark in obtained.remarks:
        print(remark)
    print(f"Terms: {entry.terms}. Please cite {entry.cite}.")
    if entry.layout == "photos":
        print(f"Translate them with: cyclegan translate RUN {to} -o OUT")
    else:
        method = f" --method {names_by_layout('paired')[0]}" if entry.layout == "paired" else ""
        print(f"Train with: cyclegan train {to}{method}")


def _get_from_hub(options: Get) -> None:
    if options.from_file is not None:
        raise UsageError("--from-file is not for data sets of the hub.")
    from cyclegan.data.get import huggingface as hub

    name, _ = hub.parsed(options.name)
    to = options.output or Path("data") / name.rpartition("/")[2]
    print(f"{to}: {hub.write(options.name, to)}.\nTrain with: cyclegan train {to}")


def list_(arguments: list[str]) -> None:
    """`cyclegan data list`."""
    parse(List, "cyclegan data list", arguments)
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from cyclegan.data.get.catalogue import all_entries, format_size

    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("what it shows")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("terms")
    for entry in all_entries().values():
        size = format_size(entry.size) if entry.size else "ask for it" if entry.ask else "built in"
        table.add_row(entry.name, entry.shows, size, entry.terms)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=170)  # a log or a pipe has no width
    console.print(table)
    print("Get one with: cyclegan data get NAME. Any data set of the Hugging Face hub: cyclegan data get hf:user/name")


class ProgressWatch:
    """What a person sees of a download: a bar with size, speed and time left, or plain lines in a log."""

    def __init__(self, name: str):
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as SpeedColumn

        self.name, self.what = name, ""
        console = Console(stderr=True, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            SpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self.task = self.bar.add_task(name, total=None)
        self.said_at = time.monotonic()

    def __enter__(self) -> "ProgressWatch":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def begin(self, what: str) -> None:
        """Begin a bar."""
        self.what = what
        self.bar.reset(self.task, description=f"{what} {self.name}", total=None)

    def advance(self, done: int, total: int | None) -> None:
        """Move the bar, or write a line if the last one is long enough ago."""
        from cyclegan.data.get.catalogue import format_size

        self.bar.update(self.task, completed=done, total=total)
        if self.bar.disable and time.monotonic() - self.said_at >= PLAIN_SECONDS:
            self.said_at = time.monotonic()
            of_total = f" of {format_size(total)}" if total else ""
            print(f"{self.what} {self.name}: {format_size(done)}{of_total}", file=sys.stderr)

    def say(self, text: str) -> None:
        """Print above the bar."""
        self.bar.console.print(text, soft_wrap=True, markup=False)
