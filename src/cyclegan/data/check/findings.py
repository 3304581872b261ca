"""Findings of the data check, and the parts of a data set that they refer to."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cyclegan.data.check.inspect import ImageStats

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")  # worst first


@dataclass(frozen=True)
class Part:
    """The images of one domain in one split."""

    split: str  # "train" or "test"
    domain: str  # "A" or "B"
    name: str  # for people, such as "A (train)"
    total: int
    stats: tuple[ImageStats, ...]  # fewer than `total` if only a sample was inspected

    @property
    def readable(self) -> list[ImageStats]:
        """Statistics of the readable images."""
        return [stats for stats in self.stats if not stats.problem]

    @property
    def usable(self) -> int:
        """Number of images not known to be unreadable."""
        return self.total - len(self.stats) + len(self.readable)

    def describe(self, count: int) -> str:
        """Such as "3 of 7 images of A (train)"."""
        inspected = " inspected" if len(self.stats) < self.total else ""
        return f"{count} of {len(self.stats)}{inspected} images of {self.name}"


@dataclass(frozen=True)
class Item:
    """One instance of a finding: a file, or several that belong together, and the text shown for it."""

    files: tuple[Path, ...]
    text: str


@dataclass(frozen=True)
class Finding:
    """Something to know before training.

    An error makes training impossible or meaningless, a warning makes results worse, a note is for information.
    """

    level: Level
    kind: str  # identifier for programs
    text: str
    advice: str = ""
    items: tuple[Item, ...] = ()
    fraction: float = 0.0  # of the images of the most affected part

    def as_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        items = [{"files": [str(path) for path in item.files], "text": item.text} for item in self.items]
        return {"level": self.level, "kind": self.kind, "text": self.text, "advice": self.advice, "items": items}


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Sort by level, then by the fraction of images."""
    return tuple(sorted(findings, key=lambda finding: (LEVELS.index(finding.level), -finding.fraction)))


def finding(
    found: Sequence[tuple[Part, Sequence[Item]]], kind: str, text: str, advice: str = "", *, level: Level | float
) -> Iterator[Finding]:
    """One finding about the items of each part, or none without items; `text` continues "3 of 7 images of A (train)".

    A number as level is the fraction of the most affected part above which the finding is a warning, else a note.
    """
    fraction = max((len(items) / len(part.stats) for part, items in found if part.stats), default=0.0)
    if fraction:
        subject = " and ".join(part.describe(len(items)) for part, items in found if items)
        every = tuple(item for _, items in found for item in items)
        if isinstance(level, float):
            level = "warning" if fraction > level else "note"
        yield Finding(level, kind, f"{subject} {text}", advice, every, fraction)


def match_images(
    parts: Sequence[Part], condition: Callable[[ImageStats], object], detail: Callable[[ImageStats], str] | None = None
) -> list[tuple[Part, list[Item]]]:
    """The readable images that meet a condition, with an optional detail shown after their paths."""

    def item(stats: ImageStats) -> Item:
        return Item((stats.path,), f"{stats.path} ({detail(stats)})" if detail else str(stats.path))

    return [(part, [item(stats) for stats in part.readable if condition(stats)]) for part in parts]
