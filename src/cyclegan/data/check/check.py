"""The check of a data set: look at every file once, then judge. And its fast part, which `train` runs first."""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cyclegan.config.schema import Config
from cyclegan.data.check.duplicate_checks import copies
from cyclegan.data.check.file_checks import in_headers, in_pixels, passed_over
from cyclegan.data.check.findings import Finding, Level, Part, Split, worst_first
from cyclegan.data.check.forecast import expectations, outlook, recommended, steps_an_epoch
from cyclegan.data.check.inspect import Look, look, look_at
from cyclegan.data.datasets import decode_specs, resolve_percentile_ranges
from cyclegan.data.layouts import DataFiles
from cyclegan.imaging.source import Header, Source

SAMPLE, SECONDS = 2000, 1.0  # headers that the fast part reads of each domain, and how long it takes at most
Watch = Callable[[Iterator[Look], int], Iterable[Look]]


@dataclass(frozen=True)
class Check:
    """What was found of a data set, worst first, and what training will do with it."""

    parts: tuple[Part, ...]
    findings: tuple[Finding, ...]
    outlook: tuple[str, ...]
    command: str  # to train with

    @property
    def level(self) -> Level | Literal["fine"]:
        """Of the worst finding."""
        return self.findings[0].level if self.findings else "fine"

    def plain(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "level": self.level,
            "parts": [{"name": part.name} | summary(part) for part in self.parts],
            "findings": [finding.plain() for finding in self.findings],
            "outlook": list(self.outlook),
            "command": self.command,
        }


def check_data(
    config: Config,
    domains: DataFiles,
    words: Sequence[str] = (),
    *,
    workers: int | None = None,
    watch: Watch = lambda looks, total: looks,
) -> Check:
    """Look at all images of a data set and judge them.

    `words` are those behind `cyclegan train`, for the command that is recommended; `workers` as of `look_at`; `watch`
    sees the looks pass, to show progress. Raises `CycleGANError` when a process dies.
    """
    plan, ways = _plan(domains), list(decode_specs(resolve_percentile_ranges(config.data, domains.train)[0]).values())
    sources = [source for _, _, files in plan for source in files]
    how = [ways[at] for _, at, files in plan for _ in files]
    looks = list(watch(look_at(sources, workers, how), len(sources)))
    parts: list[Part] = []
    for split, at, files in plan:
        start = sum(part.total for part in parts)
        parts.append(_part(domains, split, at, files, looks[start : start + len(files)]))
    findings = worst_first(
        [
            *in_headers(parts),
            *in_pixels(parts),
            *copies(parts),
            *expectations(parts, config, domains.train.paired),
            *passed_over(_folders(config, domains)),
        ]
    )
    two = [part for part in parts if part.split == "train" and part.readable]
    all_gray = len(two) == 2 and all(look.gray for part in two for look in part.readable)
    return Check(tuple(parts), findings, outlook(parts, config), recommended(words, findings, all_gray))


def _plan(domains: DataFiles) -> list[tuple[Split, int, Sequence[Source]]]:
    """Split, number of the domain, and images, of each part; a domain that is its own partner counts once."""
    plan: list[tuple[Split, int, Sequence[Source]]] = []
    for split, domain in (("train", domains.train), ("test", domains.test)):
        both = (domain.a,) if domain.a == domain.b else (domain.a, domain.b)
        plan += [("train" if split == "train" else "test", at, files) for at, files in enumerate(both) if files]
    return plan


def _part(domains: DataFiles, split: Split, at: int, files: Sequence[Source], looks: Iterable[Look]) -> Part:
    return Part(split, "B" if at else "A", f"{split} {domains.names[at]}", len(files), tuple(looks))


def _folders(config: Config, domains: DataFiles) -> list[Path]:
    roots = [root for domain in (domains.train, domains.test) for root in domain.roots if root is not None]
    return roots or [folder for folder in (config.data.data, config.data.a) if folder is not None]


def summary(part: Part) -> dict[str, Any]:
    """A part in figures: numbers of images, sizes as (width, height), aspect, file formats and modes of pixels."""
    headers = [look.header for look in part.readable if look.header is not None]
    sizes = sorted((header.size for header in headers), key=lambda size: (size[0] * size[1], size))
    return {
        "images": part.total,
        "unreadable": len(part.looks) - len(headers),
        "smallest": sizes[0] if sizes else None,
        "median": sizes[len(sizes) // 2] if sizes else None,
        "largest": sizes[-1] if sizes else None,
        "aspect": round(statistics.median(width / height for width, height in sizes), 2) if sizes else None,
        "kinds": dict(Counter(header.kind for header in headers).most_common()),
        "modes": dict(Counter(map(_mode, headers)).most_common()),
    }


def _mode(header: Header) -> str:
    return f"{header.mode} {header.bits} bit" if header.bits > 8 and ";" not in header.mode else header.mode


def fast_check(config: Config, domains: DataFiles) -> list[str]:
    """At most three lines on the data for who is about to train, from headers alone and within a second or so."""
    plan = _plan(domains)
    train = [_sampled(domains, *each) for each in plan if each[0] == "train"]
    test = [_part(domains, *each, ()) for each in plan if each[0] == "test"]
    found = worst_first([*in_headers(train), *expectations([*train, *test], config, domains.train.paired)])
    grave = [finding for finding in found if finding.level != "note"]
    lines = [_numbers(train, test, config)]
    lines += [f"{finding.level.capitalize()}: {finding.text} {finding.advice}" for finding in grave[:2]]
    if len(grave) > 2:
        lines[2] += f" ({len(grave) - 2} more: see `cyclegan data check`.)"
    return [printable(line) for line in lines]


def _sampled(domains: DataFiles, split: Split, at: int, files: Sequence[Source]) -> Part:
    """Headers of a sample, evenly taken, as far as time allows; one at least."""
    looks, until = [], time.monotonic() + SECONDS / 2
    for source in files[:: -(-len(files) // SAMPLE)]:
        looks.append(look(source, pixels=False))
        if time.monotonic() > until:
            break
    return _part(domains, split, at, files, looks)


def _numbers(train: Sequence[Part], test: Sequence[Part], config: Config) -> str:
    counts = " and ".join(f"{part.total} images of {part.name}{_span_of(part)}" for part in train)
    to_test = f", {' and '.join(str(part.total) for part in test)} to test on" if test else ""
    steps = steps_an_epoch(train, config)
    return f"Data: {counts}{to_test}; an epoch has {steps:,} step{'s' * (steps != 1)}."


def _span_of(part: Part) -> str:
    return f" ({size_range(part)})" if part.readable else ""


def size_range(part: Part) -> str:
    """The sizes of a part's images in words, from the smallest to the largest."""
    figures = summary(part)
    sizes = [figures[name] for name in ("smallest", "largest") if figures[name]]
    return " to ".join(dict.fromkeys(f"{width}x{height}" for width, height in sizes))


def printable(text: str) -> str:
    """The text with control characters and bytes that are not UTF-8 made visible."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte of a file's name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()
