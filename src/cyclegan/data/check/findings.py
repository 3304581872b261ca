"""What a finding is, and which images of which part of the data it is about."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cyclegan.data.check.inspect import Look

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
    looks: tuple[Look, ...]  # fewer than `total` where only a sample was looked at

    @property
    def readable(self) -> list[Look]:
        """Looks at the images that can be read."""
        return [look for look in self.looks if look.header is not None]

    @property
    def usable(self) -> int:
        """How many images there are to train on, as far as is known."""
        return self.total - sum(look.header is None for look in self.looks)

    def images(self, count: int) -> str:
        """So many of all in words."""
        looked_at = " looked at" if len(self.looks) < self.total else ""
        return f"{count} of {len(self.looks)} images of {self.name}{looked_at}"


@dataclass(frozen=True)
class Item:
    """One case of a finding: the file, or several that belong together, and what is said of it."""

    files: tuple[Path, ...]
    said: str


@dataclass(frozen=True)
class Finding:
    """Something to know before training.

    An error makes training impossible or meaningless, a warning makes it worse, a note is good to know.
    """

    level: Level
    kind: str  # a word for programs
    text: str
    advice: str = ""
    items: tuple[Item, ...] = ()
    share: float = 0.0  # of the images of the part that is hit most

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        items = [{"files": [str(path) for path in item.files], "said": item.said} for item in self.items]
        return {"level": self.level, "kind": self.kind, "text": self.text, "advice": self.advice, "items": items}


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By level, then by the share of the images."""
    return tuple(sorted(findings, key=lambda finding: (LEVELS.index(finding.level), -finding.share)))


@dataclass(frozen=True)
class Cases:
    """The cases of a finding, part by part."""

    parts: Sequence[tuple[Part, Sequence[Item]]]

    @property
    def share(self) -> float:
        """Of the images of the part that is hit most; 0.0 if there is no case."""
        return max((len(items) / len(part.looks) for part, items in self.parts if part.looks), default=0.0)

    def finding(self, level: Level, kind: str, text: str, advice: str = "") -> Finding:
        """A finding about them; `text` goes on behind "3 of 7 images of train A"."""
        subject = " and ".join(part.images(len(items)) for part, items in self.parts if items)
        every = tuple(item for _, items in self.parts for item in items)
        return Finding(level, kind, f"{subject} {text}", advice, every, self.share)


def cases(parts: Sequence[Part], hit: Callable[[Look], object], said: Callable[[Look], str] | None = None) -> Cases:
    """The readable images of each part for which `hit` is true, with what is `said` of each beside its path."""

    def item(look: Look) -> Item:
        return Item((look.path,), f"{look.path} ({said(look)})" if said else str(look.path))

    return Cases([(part, [item(look) for look in part.readable if hit(look)]) for part in parts])
