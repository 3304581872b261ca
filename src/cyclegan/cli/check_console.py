"""Terminal output of a data check: a table of the data, the findings, and the forecast."""

import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table
from rich.text import Text

from cyclegan.cli.console import output_console
from cyclegan.data.check.check import Check, escape_unprintable, summarize
from cyclegan.data.check.findings import LEVELS
from cyclegan.data.check.inspect import ImageStats
from cyclegan.system.text import counted

STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
LABELS = 16  # columns of the table's first column and its margins
INDENT = 9  # columns, of the text next to a level
MAX_FILES = {"unreadable": 20}  # files named for each finding; JSON has all
DEFAULT_MAX_FILES = 3


def track_inspection(stats: Iterator[ImageStats], total: int) -> Iterable[ImageStats]:
    """Show a progress bar on a terminal."""
    console = Console(stderr=True)
    return track(stats, "Inspecting", total, console=console, transient=True, disable=not console.is_terminal)


def print_check(check: Check, console: Console | None = None) -> None:
    """Print a check, with colors on a terminal."""
    console = console or output_console()
    summaries = [summarize(part) for part in check.parts]
    # Long names are folded, so that no figure has to be cut.
    room = max(1, (console.width - LABELS) // len(check.parts) - 3)
    names = ("\n".join(textwrap.wrap(escape_unprintable(part.name), room)) for part in check.parts)
    columns = [Column(Text(name)) for name in names]
    table = Table("", *columns, box=box.SIMPLE, pad_edge=False)
    for name in ("images", "unreadable", "smallest", "median", "largest", "aspect_ratio", "formats", "modes"):
        table.add_row(name.replace("_", " "), *(Text(_format(summary[name])) for summary in summaries))
    console.print(table)
    for finding in check.findings:
        count = MAX_FILES.get(finding.kind, DEFAULT_MAX_FILES)
        items = [f"- {item.text}" for item in finding.items[:count]]
        more = len(finding.items) - count
        items += [f"- and {more} more (--json lists all)"] * (more > 0)
        _print_block(console, finding.level, STYLES[finding.level], finding.text, finding.advice, *items)
    levels = [finding.level for finding in check.findings]
    counts = ", ".join(counted(levels.count(level), level) for level in LEVELS if level in levels)
    _print_block(console, "found", "bold", counts or "no problems")
    _print_block(console, "training", "bold", *check.forecast)
    _print_block(console, "method", "bold", check.method)
    _print_block(console, "command", "bold", check.command)


def _format(value: int | float | tuple[int, int] | Mapping[str, int] | None) -> str:
    """A number, a size, or the counts of several names; a single name alone."""
    if isinstance(value, tuple):
        return f"{value[0]}x{value[1]}"
    if isinstance(value, Mapping):
        return ", ".join(f"{count} {name}" for name, count in value.items()) if len(value) > 1 else "".join(value)
    return str(value or "-")


def _print_block(console: Console, head: str, style: str, *lines: str) -> None:
    """Print lines next to a head, wrapped on a terminal only, and never within file names."""
    width = console.width - INDENT if console.is_terminal else sys.maxsize
    text = Text()
    for line in filter(None, lines):
        for piece in textwrap.wrap(escape_unprintable(line), width, break_long_words=False, break_on_hyphens=False):
            text.append(" " * INDENT + piece + "\n")
    text = Text.assemble((f"{head:<{INDENT}}", style), text[INDENT:])
    console.print(text, soft_wrap=True, highlight=False)
