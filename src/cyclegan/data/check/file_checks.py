"""Findings about single files: unreadable, odd, unlike the others, or passed over."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cyclegan.data.check.findings import Cases, Finding, Item, Level, Part, cases
from cyclegan.data.check.inspect import Look
from cyclegan.imaging.encode import IMAGE_SUFFIXES

KINDS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF",
    ".npy": "NPY", ".npz": "NPZ",
}  # fmt: skip
OTHER_PICTURES = frozenset(
    (".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".jfif", ".tga", ".ppm", ".pgm", ".psd", ".svg", ".exr", ".hdr",
     ".dcm", ".dng", ".nef", ".cr2")
)  # fmt: skip
ONE_COLOR, FAINT = 2.0, 6.0  # levels of 255: standard deviation of the luminance
MANY = 0.05  # share of a part's images from which something odd is no longer a note only
MOSTLY = 0.9  # share of a part's images from which it is of one kind


def in_headers(parts: Sequence[Part]) -> Iterator[Finding]:
    """What headers and names show."""
    yield from _unreadable(parts)
    for kind, (hit, said, text, advice) in ODD.items():
        found = cases(parts, hit, said)
        if found.share:
            yield found.finding("note", kind, text, advice)


def _kind(look: Look) -> str:
    return look.header.kind if look.header is not None else ""


def _mode(look: Look) -> str:
    return look.header.mode if look.header is not None else ""


# What is good to know of readable files: a word for programs, then which, what is said of each, what it means, and
# what to do about it.
ODD: dict[str, tuple[Callable[[Look], bool], Callable[[Look], str] | None, str, str]] = {
    "wrong suffix": (
        lambda look: _kind(look) != KINDS.get(look.path.suffix.lower()),
        lambda look: f"holds {_kind(look)}",
        "hold another format than their names say, and are read by what they hold.",
        "Rename them for the sake of other programs.",
    ),
    "several pictures": (
        lambda look: look.header is not None and look.header.several,
        None,
        "hold several pictures (frames or pages), of which the first is taken, unless gray pages are the channels.",
        "Save the others as files of their own if they shall count.",
    ),
    "deep": (
        lambda look: look.header is not None and look.header.bits > 8,
        None,
        "have more than 8 bits a channel, which training keeps.",
        "Say with --range-a and --range-b which values are black and white, if their type's whole range is not used.",
    ),
    "transparent": (
        lambda look: _mode(look).upper().endswith("A"),
        None,
        "can be transparent; transparent parts become white.",
        "Choose another color with --background, or learn transparency with 4 channels.",
    ),
    "cmyk": (
        lambda look: _mode(look) == "CMYK",
        None,
        "are in CMYK, the colors of print, which become RGB roughly.",
        "Convert them by their color profiles if colors matter.",
    ),
    "odd names": (
        lambda look: not str(look.path).isprintable(),
        None,
        "have control characters or bytes that are not UTF-8 in their names or folders.",
        "Rename them for the sake of other programs.",
    ),
}


def _unreadable(parts: Sequence[Part]) -> Iterator[Finding]:
    lost = Cases([(part, [Item((look.path,), look.problem) for look in part.looks if look.problem]) for part in parts])
    if not lost.share:
        return
    if any(part.looks and not part.readable for part in parts if part.split == "train"):
        yield lost.finding("error", "unreadable", "cannot be read, and a domain has no others.", "Repair them.")
    else:
        advice = "Repair or remove them; training leaves them out, or stops at the first with --strict."
        yield lost.finding("warning", "unreadable", "cannot be read.", advice)


def in_pixels(parts: Sequence[Part]) -> Iterator[Finding]:
    """What small pictures of the images show."""
    bars = cases(parts, lambda look: look.bars, lambda look: f"{look.bars:.0%} of it")
    if bars.share:
        text = "have bars or a frame of one color at their edges, which networks learn to draw."
        yield bars.finding(_level(bars), "bars", text, "Cut them off.")
    empty = cases(parts, lambda look: look.contrast < ONE_COLOR)
    if empty.share:
        yield empty.finding("warning", "one color", "show one color and nothing else.", "Remove them.")
    faint = cases(parts, lambda look: ONE_COLOR <= look.contrast < FAINT)
    if faint.share:
        yield faint.finding("note", "faint", "have hardly any contrast.", "Look whether they are meant to be so.")
    mixed = [part for part in parts if sum(look.gray for look in part.readable) < MOSTLY * len(part.readable)]
    gray = cases(mixed, lambda look: look.gray)
    if gray.share:
        text = "have no color, unlike the others."
        yield gray.finding(_level(gray), "gray among color", text, "Keep one kind, or networks mix the two.")


def _level(found: Cases) -> Level:
    return "warning" if found.share > MANY else "note"


def passed_over(folders: Sequence[Path]) -> Iterator[Finding]:
    """What below these folders is not looked at, and not trained on either."""
    others: list[Path] = []
    links: list[Path] = []
    closed: list[Path] = []
    for folder in folders:
        seen = {folder.resolve(), *folder.resolve().parents}
        for where, names, files in os.walk(folder, followlinks=True, onerror=lambda e: closed.append(Path(e.filename))):
            below = [Path(where, name) for name in sorted(names) if not name.startswith(".")]
            again = [path for path in below if path.resolve() in seen]
            seen |= {path.resolve() for path in below}
            links += again
            names[:] = [path.name for path in below if path not in again]
            paths = [Path(where, name) for name in sorted(files) if not name.startswith(".")]
            others += [path for path in paths if path.suffix.lower() not in IMAGE_SUFFIXES]
    if others:
        yield _no_images(others)
    if links:
        text = f"{_counted(links, 'link')} to folders that were seen already or hold this one, passed over."
        yield Finding("note", "links", text, "", _items(links))
    if closed:
        advice = "Check their permissions."
        yield Finding(
            "warning", "closed folders", f"{_counted(closed, 'folder')} may not be read.", advice, _items(closed)
        )


def _no_images(paths: Sequence[Path]) -> Finding:
    counts = Counter(path.suffix.lower() or "without suffix" for path in paths)
    pictures = sorted(counts.keys() & OTHER_PICTURES)
    listed = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))
    text = f"{_counted(paths, 'file')} beside the images, passed over ({listed})."
    advice = f"Convert {', '.join(pictures)} to PNG if they shall count." if pictures else ""
    return Finding("warning" if pictures else "note", "other files", text, advice, _items(paths))


def _counted(paths: Sequence[Path], noun: str) -> str:
    return f"{len(paths)} {noun}{'s' * (len(paths) != 1)}"


def _items(paths: Sequence[Path]) -> tuple[Item, ...]:
    return tuple(Item((path,), str(path)) for path in paths)
