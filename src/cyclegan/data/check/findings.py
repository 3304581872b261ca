"""Findings of the data check, and the parts of a data set that they refer to."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cyclegan.data.check.inspect import ImageStats

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")  # worst first
Split = Literal["train", "test"]


@dataclass(frozen=True)
class Part:
    """The images of one domain in one split."""

    split: Split
    domain: Literal["A", "B"]
    name: str  # for people, such as "train A"
    total: int
    stats: tuple[ImageStats, ...]  # fewer than `total` if only a sample was inspected

    @property
    def readable(self) -> list[ImageStats]:
        """Statistics of the readable images."""
        return [stats for stats in self.stats if stats.header is not None]

    @property
    def usable(self) -> int:
        """Number of images not known to be unreadable."""
        return self.total - sum(stats.header is None for stats in self.stats)

    def describe(self, count: int) -> str:
        """Such as "3 of 7 images of train A"."""
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


@dataclass(frozen=True)
class Matches:
    """Items of a finding for each part."""

    parts: Sequence[tuple[Part, Sequence[Item]]]

    @property
    def fraction(self) -> float:
        """Of the images of the most affected part; 0.0 without items."""
        return max((len(items) / len(part.stats) for part, items in self.parts if part.stats), default=0.0)

    def finding(self, level: Level, kind: str, text: str, advice: str = "") -> Finding:
        """A finding about these items; `text` continues "3 of 7 images of train A"."""
        subject = " and ".join(part.describe(len(items)) for part, items in self.parts if items)
        every = tuple(item for _, items in self.parts for item in items)
        return Finding(level, kind, f"{subject} {text}", advice, every, self.fraction)


def match_images(
    parts: Sequence[Part], condition: Callable[[ImageStats], object], detail: Callable[[ImageStats], str] | None = None
) -> Matches:
    """The readable images that meet a condition, with an optional detail shown after their paths."""

    def item(stats: ImageStats) -> Item:
        return Item((stats.path,), f"{stats.path} ({detail(stats)})" if detail else str(stats.path))

    return Matches([(part, [item(stats) for stats in part.readable if condition(stats)]) for part in parts])
