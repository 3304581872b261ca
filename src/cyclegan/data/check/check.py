"""The data check: inspect every file, then report findings; its fast part, before training; a contact sheet."""

import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from PIL import Image, ImageDraw, ImageFont, ImageOps

from cyclegan.config.schema import Config
from cyclegan.data.check.companions import companion_findings, fitting_method, pairs_note
from cyclegan.data.check.duplicate_checks import check_duplicates
from cyclegan.data.check.file_checks import check_headers, check_pixels, check_skipped_files
from cyclegan.data.check.findings import Finding, Level, Part, worst_first
from cyclegan.data.check.forecast import forecast, recommended_command, size_findings
from cyclegan.data.check.inspect import ImageStats, inspect_image, inspect_images
from cyclegan.data.layouts import DataFiles
from cyclegan.data.preprocessing import decode_specs, resolve_percentile_ranges
from cyclegan.data.select import evenly_spaced, find_data
from cyclegan.imaging.decode import read_preview
from cyclegan.imaging.source import Source, UnreadableImage

SAMPLE, SECONDS = 2000, 1.0  # limits of the fast check: headers per domain, and time
COLUMNS, ROWS = 4, 5  # of each domain in the contact sheet
CELL, GAP, MARGIN, HEADING = 144, 6, 24, 60  # pixels
BACKGROUND, TEXT, FAINT, RULE = (250, 250, 248), (32, 32, 36), (128, 128, 132), (222, 222, 218)
MAX_LINES = 3  # of the fast check
Tracker = Callable[[Iterator[ImageStats], int], Iterable[ImageStats]]


@dataclass(frozen=True)
class Check:
    """The result of a data check: findings, worst first, and a forecast of training."""

    parts: tuple[Part, ...]
    findings: tuple[Finding, ...]
    forecast: tuple[str, ...]
    command: str  # to train with
    method: str  # that fits the data, with options, a sentence

    @property
    def level(self) -> Level | Literal["fine"]:
        """The level of the worst finding."""
        return self.findings[0].level if self.findings else "fine"

    def as_json(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "level": self.level,
            "parts": [{"name": part.name} | summarize(part) for part in self.parts],
            "findings": [finding.as_json() for finding in self.findings],
            "forecast": list(self.forecast),
            "command": self.command,
            "method": self.method,
        }


def check_data(
    data: str | Path | Config,
    *,
    args: Sequence[str] = (),
    workers: int | None = None,
    track: Tracker = lambda stats, total: stats,
) -> Check:
    """Inspect all images of a data set and report findings: ``check_data("data/horse2zebra")``.

    `data` is a folder, checked for training with the default settings, or the configuration of a run. `args` are the
    arguments of `cyclegan train` for the recommended command, by default the data's folders; `workers` as for
    `inspect_images`; `track` wraps the iterator, for a progress bar. Raises `UsageError` when the folder does not hold
    two domains of images, and `CycleGANError` when a worker process dies.
    """
    config = data if isinstance(data, Config) else Config().with_settings(data=Path(data))
    files, folders = find_data(config), config.data
    if not args and folders.data is not None:
        args = [str(folders.data)]
    elif not args:
        args = [word for n in ("a", "b") if (path := getattr(folders, n)) for word in (f"--{n}", str(path))]
    plan, specs = _plan(files), decode_specs(resolve_percentile_ranges(config.data, files.train)[0])
    sources = [source for _, images in plan for source in images]
    source_specs = [specs["AB".index(part.domain)] for part, images in plan for _ in images]
    stats = iter(list(track(inspect_images(sources, workers, source_specs), len(sources))))
    parts = [replace(part, stats=tuple(islice(stats, part.total))) for part, _ in plan]
    roots = [root for split in (files.train, files.test) for root in split.roots if root is not None]
    roots = roots or [folder for folder in (config.data.data, config.data.a) if folder is not None]
    of_images = chain(check_headers(parts), check_pixels(parts), check_duplicates(parts))
    of_folders = chain(size_findings(parts, config, files.train.paired), check_skipped_files(roots))
    findings = worst_first([*of_images, *of_folders, *companion_findings(files, config)])
    train = [part for part in parts if part.split == "train" and part.readable]
    all_gray = len(train) == 2 and all(each.gray for part in train for each in part.readable)
    command = recommended_command(args, findings, all_gray)
    return Check(
        tuple(parts), findings, forecast(files.train, config), command, fitting_method(files, findings, config)
    )


def _plan(files: DataFiles) -> list[tuple[Part, Sequence[Source]]]:
    """The parts, without statistics, and their images; with a single domain, A alone."""
    return [
        (Part(split, domain, f"{name} ({split})", len(sources), ()), sources)
        for split, images in (("train", files.train), ("test", files.test))
        for domain, name, sources in zip("AB", files.names, (images.a, images.b), strict=True)
        if sources and (domain == "A" or images.a != images.b)
    ]


def summarize(part: Part) -> dict[str, Any]:
    """Numbers of images, sizes as (width, height), aspect ratio, file formats and pixel modes of a part."""
    headers = [stats.header for stats in part.readable]
    modes = (f"{h.mode} {h.bits} bit" if h.bits > 8 and ";" not in h.mode else h.mode for h in headers)
    sizes = sorted((header.size for header in headers), key=lambda size: (size[0] * size[1], size))
    return {
        "images": part.total,
        "unreadable": len(part.stats) - len(headers),
        "smallest": sizes[0] if sizes else None,
        "median": sizes[len(sizes) // 2] if sizes else None,
        "largest": sizes[-1] if sizes else None,
        "aspect_ratio": round(statistics.median(width / height for width, height in sizes), 2) if sizes else None,
        "formats": dict(Counter(header.kind for header in headers).most_common()),
        "modes": dict(Counter(modes).most_common()),
    }


def fast_check(config: Config, files: DataFiles) -> list[str]:
    """At most three lines about the data, printed before training; from headers only, within about a second."""
    plan = _plan(files)
    train = [replace(part, stats=_inspect_sample(images)) for part, images in plan if part.split == "train"]
    test = [part for part, _ in plan if part.split == "test"]
    found = worst_first([*check_headers(train), *size_findings([*train, *test], config, files.train.paired)])
    grave = [finding for finding in found if finding.level != "note"]
    counts = " and ".join(f"{p.total} images of {p.name}" + f" ({size_range(p)})" * bool(p.readable) for p in train)
    tests = f", {' and '.join(str(part.total) for part in test)} test images" if test else ""
    lines = [f"Data: {counts}{tests}."]
    lines += [f"{finding.level.capitalize()}: {finding.text} {finding.advice}" for finding in grave[:2]]
    if len(grave) > 2:
        lines[2] += f" ({len(grave) - 2} more: see `cyclegan data check`.)"
    lines += pairs_note(files.train, config) if len(lines) < MAX_LINES else []
    return [escape_unprintable(line) for line in lines]


def _inspect_sample(files: Sequence[Source]) -> tuple[ImageStats, ...]:
    """Headers of evenly spaced files, at least one, until the time is up."""
    stats, until = [], time.monotonic() + SECONDS / 2
    for source in files[:: -(-len(files) // SAMPLE)]:
        stats.append(inspect_image(source, pixels=False))
        if time.monotonic() > until:
            break
    return tuple(stats)


def size_range(part: Part) -> str:
    """The smallest and the largest size, such as "32x32 to 640x480"."""
    summary = summarize(part)
    sizes = [summary[name] for name in ("smallest", "largest") if summary[name]]
    return " to ".join(dict.fromkeys(f"{width}x{height}" for width, height in sizes))


def escape_unprintable(text: str) -> str:
    """The text with control characters and bytes that are not UTF-8 escaped."""
    # Python decodes a byte of a file name that is not UTF-8 to a surrogate.
    text = re.sub("[\udc80-\udcff]", lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def contact_sheet(parts: Sequence[Part]) -> Image.Image:
    """Draw evenly spaced training images of each domain, in their own aspect ratios, under headings."""
    train = [part for part in parts if part.split == "train"]
    rows = min(ROWS, max(1, *(-(-len(part.readable) // COLUMNS) for part in train)))
    width = COLUMNS * (CELL + GAP) - GAP + 2 * MARGIN
    sheet = Image.new("RGB", (len(train) * width, HEADING + rows * (CELL + GAP) - GAP + MARGIN), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for number, part in enumerate(train):
        left = number * width + MARGIN
        name, font = escape_unprintable(part.name), ImageFont.load_default(size=20)
        pen.text((left, 40), name, TEXT, font, anchor="ls")
        caption = f"{part.total} images, {size_range(part)}"
        right = left + pen.textlength(name, font) + 14
        pen.text((right, 40), caption, FAINT, ImageFont.load_default(size=14), anchor="ls")
        thumbnails = []
        for index in evenly_spaced(len(part.readable), rows * COLUMNS):
            stats = part.readable[index]
            with suppress(UnreadableImage):  # deleted since it was inspected
                image = read_preview(stats.source, stats.spec, min_side=CELL)
                thumbnails.append(ImageOps.contain(image, (CELL, CELL), Image.Resampling.LANCZOS))
        for position, image in enumerate(thumbnails):
            row, column = divmod(position, COLUMNS)
            x, y = left + column * (CELL + GAP), HEADING + row * (CELL + GAP)
            sheet.paste(image, (x + (CELL - image.width) // 2, y + (CELL - image.height) // 2))
        if number:
            pen.line([(left - MARGIN, MARGIN), (left - MARGIN, sheet.height - MARGIN)], RULE)
    return sheet
