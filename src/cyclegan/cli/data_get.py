"""`cyclegan data list` and `cyclegan data get`."""

import sys
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Optional

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command
from cyclegan.cli.console import output_console, print_json
from cyclegan.cli.settings import OUTPUT, OptionalPath, Switch
from cyclegan.errors import UsageError
from cyclegan.methods.registry import names_by_layout
from cyclegan.system.text import quote

PLAIN_SECONDS = 10.0  # between two lines in a log
SEASONS_ONLY = ("size", "train", "test", "paired", "maps")


@dataclass
class Options:
    """Options of `cyclegan data get`."""

    name: Annotated[
        str,
        tyro.conf.Positional,
        Doc("Name from `cyclegan data list`, or hf:user/name[:A,B] of the Hugging Face hub."),
    ]
    output: Annotated[Optional[Path], OUTPUT, Doc("Folder to create. Default: data/NAME.")] = None
    from_file: Annotated[OptionalPath, Doc("Use this archive instead of downloading one.")] = None
    size: Annotated[int, Doc("seasons: width and height of the images, pixels.")] = 64
    train: Annotated[int, Doc("seasons: training images of each domain.")] = 400
    test: Annotated[int, Doc("seasons: pairs of test images.")] = 32
    paired: Annotated[Switch, Doc("seasons: training images are pairs as well, in data/seasons-paired.")] = False
    maps: Annotated[Switch, Doc("seasons: also masks of houses and trees, and label maps.")] = False


@command("data get")
def get(options: Annotated[Options, tyro.conf.arg(name="")]) -> None:
    """Download a data set; 'seasons' is built in."""
    if options.name == "seasons":
        _draw_seasons(options)
        return
    for field in fields(Options):
        if field.name in SEASONS_ONLY and getattr(options, field.name) != field.default:
            raise UsageError(f"--{field.name} applies only to seasons, not to {options.name}.")
    if options.name.startswith("hf:"):
        _get_from_hub(options)
    else:
        _get_public(options)


def _draw_seasons(options: Options) -> None:
    if options.from_file is not None:
        raise UsageError("--from-file cannot be used with seasons, which is generated.")
    from cyclegan.data.get import seasons

    to = options.output or Path("data") / (options.name + ("-paired" if options.paired else ""))
    sizes = {"size": options.size, "train": options.train, "test": options.test}
    seasons.write_seasons(to, **sizes, paired=options.paired, maps=options.maps)
    count = options.train
    scenes = f"{count} scenes in summer and winter" if options.paired else f"{count} summers, {count} winters"
    print(f"{to}: {scenes}, and {options.test} test scenes in both seasons.")
    print(f"Train with: cyclegan train {quote(to)}{' --method pix2pix' * options.paired}")


def _get_public(options: Options) -> None:
    from cyclegan.data.get.catalog import find_entry

    entry = find_entry(options.name)
    to = options.output or Path("data") / entry.name

    from cyclegan.data.get.download import get_dataset, partial_file

    try:
        with DownloadProgress(entry.name) as progress:
            result = get_dataset(entry, to, progress, options.from_file)
    except KeyboardInterrupt:
        if (partial := partial_file(entry, to)).size():
            print(partial.describe(), file=sys.stderr)
        raise
    print(f"{to}: {result.contents}.")
    for note in result.notes:
        print(note)
    print(f"Terms: {entry.terms}. Please cite {entry.citation}.")
    if entry.layout == "photos":
        print(f"Translate with: cyclegan translate RUN {quote(to)} -o OUTPUT")
    else:
        method = f" --method {names_by_layout('paired')[0]}" if entry.layout == "paired" else ""
        print(f"Train with: cyclegan train {quote(to)}{method}")


def _get_from_hub(options: Options) -> None:
    if options.from_file is not None:
        raise UsageError("--from-file cannot be used with data sets of the hub.")
    from cyclegan.data.get import huggingface as hub

    name, _ = hub.parse_specification(options.name)
    to = options.output or Path("data") / name.rpartition("/")[2]
    print(f"{to}: {hub.write_hub_dataset(options.name, to)}.\nTrain with: cyclegan train {quote(to)}")


@command("data list")
def list_(*, json: Annotated[Switch, Doc("Print JSON.")] = False) -> None:
    """List the data sets available by name."""
    from cyclegan.data.get.catalog import all_entries

    if json:
        print_json([asdict(entry) for entry in all_entries().values()])
        return
    from rich import box
    from rich.filesize import decimal
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("description")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("terms")
    for entry in all_entries().values():
        size = decimal(entry.size) if entry.size else "on request" if entry.instructions else "built in"
        table.add_row(entry.name, entry.description, size, entry.terms)
    output_console().print(table)
    print("Get one with: cyclegan data get NAME\nFrom the Hugging Face hub: cyclegan data get hf:user/name")


class DownloadProgress:
    """Shows a download: a bar with size, speed and time left on a terminal, otherwise lines at intervals."""

    def __init__(self, name: str):
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.progress import TransferSpeedColumn as SpeedColumn

        self.name, self.action = name, ""
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
        self.printed_at = time.monotonic()

    def __enter__(self) -> "DownloadProgress":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def begin(self, task: str) -> None:
        """Start a new bar."""
        self.action = task
        self.bar.reset(self.task, description=f"{task} {self.name}", total=None)

    def advance(self, done: int, total: int | None) -> None:
        """Update the bar, or print a line if the last one is long enough ago."""
        from rich.filesize import decimal

        self.bar.update(self.task, completed=done, total=total)
        if self.bar.disable and time.monotonic() - self.printed_at >= PLAIN_SECONDS:
            self.printed_at = time.monotonic()
            of_total = f" of {decimal(total)}" if total else ""
            print(f"{self.action} {self.name}: {decimal(done)}{of_total}", file=sys.stderr)

    def message(self, text: str) -> None:
        """Print above the bar."""
        self.bar.console.print(text, soft_wrap=True, markup=False)
