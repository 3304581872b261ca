"""What a person sees of a check in the terminal: a table of the data, the findings, and what training will do."""

import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping

from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from cyclegan.data.check.check import Check, printable, summary
from cyclegan.data.check.findings import LEVELS, Finding
from cyclegan.data.check.inspect import Look

STYLES = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
INDENT = 9  # columns, of what stands beside a level
SHOWN = {"unreadable": 20}  # files named of each finding; JSON has all
SHOWN_OTHERWISE = 3
WIDE = 160  # columns of the table where there is no terminal


def watch_looks(looks: Iterator[Look], total: int) -> Iterable[Look]:
    """The looks, with a bar of progress on a terminal."""
    console = Console(stderr=True)
    return track(looks, "Looking", total, console=console, transient=True, disable=not console.is_terminal)


def show_check(check: Check, console: Console | None = None) -> None:
    """Print all there is to say, with colors on a terminal and plainly elsewhere."""
    console = console or Console(width=None if sys.stdout.isatty() else WIDE)
    console.print(_table(check))
    for finding in check.findings:
        _show(finding, console)
    found = {level: sum(finding.level == level for finding in check.findings) for level in LEVELS}
    counts = [f"{count} {level}{'s' * (count != 1)}" for level, count in found.items() if count]
    _say(console, "found", "bold", ", ".join(counts) or "nothing that would spoil a training")
    _say(console, "training", "bold", *check.outlook)
    _say(console, "command", "bold", check.command)


def _table(check: Check) -> Table:
    headings = ("images", "unreadable", "smallest", "median", "largest", "width/height", "formats", "modes")
    table = Table("", *headings, box=box.SIMPLE, pad_edge=False)
    for part in check.parts:
        figures = summary(part)
        sizes = [_size(figures[name]) for name in ("smallest", "median", "largest")]
        counts = [_counts(figures[name]) for name in ("kinds", "modes")]
        row = [part.name, str(part.total), str(figures["unreadable"] or "-"), *sizes, str(figures["aspect"] or "-")]
        table.add_row(*(Text(printable(cell)) for cell in (*row, *counts)))
    return table


def _size(size: tuple[int, int] | None) -> str:
    return f"{size[0]}x{size[1]}" if size else "-"


def _counts(counts: Mapping[str, int]) -> str:
    """Names alone if there is but one."""
    return ", ".join(f"{count} {name}" for name, count in counts.items()) if len(counts) > 1 else "".join(counts)


def _show(finding: Finding, console: Console) -> None:
    shown = SHOWN.get(finding.kind, SHOWN_OTHERWISE)
    more = len(finding.items) - shown
    files = [item.said for item in finding.items[:shown]] + [f"and {more} more, which --json names"] * (more > 0)
    _say(console, finding.level, STYLES[finding.level], finding.text, finding.advice, *(f"- {said}" for said in files))


def _say(console: Console, head: str, style: str, *lines: str) -> None:
    """Lines behind a head; the terminal's width is kept where there is one, and files' names are not broken."""
    width = console.width - INDENT if console.is_terminal else sys.maxsize
    text = Text()
    for line in filter(None, lines):
        for piece in textwrap.wrap(printable(line), width, break_long_words=False, break_on_hyphens=False):
            text.append(" " * INDENT + piece + "\n")
    text = Text.assemble((f"{head:<{INDENT}}", style), text[INDENT:])
    console.print(text, soft_wrap=True, highlight=False)
