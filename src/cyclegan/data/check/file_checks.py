"""Findings about single files: unreadable, unusual, unlike the others, or skipped."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cyclegan.data.check.findings import Finding, Item, Level, Part, finding, match_images
from cyclegan.data.check.inspect import ImageStats
from cyclegan.data.layouts import walk
from cyclegan.imaging.encode import IMAGE_SUFFIXES
from cyclegan.system.text import counted

KINDS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF",
    ".npy": "NPY", ".npz": "NPZ", ".heic": "HEIF", ".heif": "HEIF", ".avif": "AVIF",
}  # fmt: skip
UNSUPPORTED_IMAGES = frozenset(
    (".gif", ".jp2", ".jxl", ".jfif", ".tga", ".ppm", ".pgm", ".psd", ".svg", ".exr", ".hdr",
     ".dcm", ".dng", ".nef", ".cr2")
)  # fmt: skip
ONE_COLOR, LOW_CONTRAST = 2.0, 6.0  # levels of 255: standard deviation of the luminance
MOST_UNREADABLE = 0.5  # fraction of a domain's images above which the data set is broken, rather than a few files
MANY = 0.05  # fraction of a part's images above which something unusual is a warning
MOSTLY = 0.9  # fraction of a part's images from which it counts as uniform


# Notes about readable files: kind, condition, detail of each file, text and advice.
NOTES: dict[str, tuple[Callable[[ImageStats], bool], Callable[[ImageStats], str] | None, str, str]] = {
    "wrong suffix": (
        lambda stats: stats.header.kind != KINDS.get(stats.path.suffix.lower()),
        lambda stats: f"contains {stats.header.kind}",
        "are in another format than their suffix says; they are read by their content.",
        "Rename them, because other programs may fail.",
    ),
    "multiple images": (
        lambda stats: stats.header.several,
        None,
        "contain several frames or pages; only the first is used, unless gray pages are the channels.",
        "Save the others as separate files to use them, too.",
    ),
    "deep": (
        lambda stats: stats.header.bits > 8,
        None,
        "have more than 8 bits per channel, which training preserves.",
        "Set --range-a and --range-b if the images do not use the full range of their type.",
    ),
    "transparent": (
        lambda stats: stats.header.mode.upper().endswith("A"),
        None,
        "have an alpha channel; transparent pixels become white.",
        "Choose another color with --background, or train with 4 channels to learn transparency.",
    ),
    "cmyk": (
        lambda stats: stats.header.mode == "CMYK",
        None,
        "are in CMYK and are converted to RGB without their color profile.",
        "Convert them with their color profiles if exact colors matter.",
    ),
    "unprintable names": (
        lambda stats: not str(stats.path).isprintable(),
        None,
        "have paths with control characters or bytes that are not UTF-8.",
        "Rename them, because other programs may fail.",
    ),
}


def check_headers(parts: Sequence[Part]) -> Iterator[Finding]:
    """Findings from headers and file names."""
    unreadable = [(p, [Item((each.path,), each.problem) for each in p.stats if each.problem]) for p in parts]
    fractions = [1 - len(part.readable) / len(part.stats) for part in parts if part.split == "train" and part.stats]
    if (worst := max(fractions, default=0.0)) > MOST_UNREADABLE:
        how = "one domain has no readable images" if worst == 1 else "that is most of one domain"
        text = f"cannot be read, and {how}."
        yield from finding(unreadable, "unreadable", text, "Repair or replace them.", level="error")
    else:
        advice = "Repair or remove them; training skips them, or stops at the first one with --strict."
        yield from finding(unreadable, "unreadable", "cannot be read.", advice, level="warning")
    for kind, (condition, detail, text, advice) in NOTES.items():
        yield from finding(match_images(parts, condition, detail), kind, text, advice, level="note")


def check_pixels(parts: Sequence[Part]) -> Iterator[Finding]:
    """Findings from the pixels of single images."""
    found = match_images(parts, lambda stats: stats.bars, lambda stats: f"{stats.bars:.0%} of its area")
    text = "have bars or a uniform frame at their edges, which networks learn to draw."
    yield from finding(found, "bars", text, "Crop them.", level=MANY)
    found = match_images(parts, lambda stats: stats.contrast < ONE_COLOR)
    yield from finding(found, "one color", "consist of a single color.", "Remove them.", level="warning")
    found = match_images(parts, lambda stats: ONE_COLOR <= stats.contrast < LOW_CONTRAST)
    advice = "Check whether this is intended."
    yield from finding(found, "low contrast", "have very low contrast.", advice, level="note")
    colored = [part for part in parts if sum(stats.gray for stats in part.readable) < MOSTLY * len(part.readable)]
    found = match_images(colored, lambda stats: stats.gray)
    advice = "Keep one kind, or networks will mix the two."
    text = "have no color, whatever their mode, unlike the others."
    yield from finding(found, "gray among color", text, advice, level=MANY)


def check_skipped_files(folders: Sequence[Path]) -> Iterator[Finding]:
    """Files and folders below `folders` that are not used for training."""
    denied: list[Path] = []
    walked = [each for folder in folders for each in walk(folder, lambda error: denied.append(Path(error.filename)))]
    links = [path for _, visited in walked for path in visited]
    others = [path for files, _ in walked for path in files if path.suffix.lower() not in IMAGE_SUFFIXES]
    counts = Counter(path.suffix.lower() or "without suffix" for path in others)
    unsupported = sorted(counts.keys() & UNSUPPORTED_IMAGES)
    listed = ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))
    convert = f"Convert {', '.join(unsupported)} to PNG to use them." if unsupported else ""
    level: Level = "warning" if unsupported else "note"
    skipped: list[tuple[Level, str, list[Path], str, str, str]] = [
        (level, "other files", others, "file", f"skipped as not supported ({listed}).", convert),
        ("note", "links", links, "link", "skipped as already included.", ""),
        ("warning", "unreadable folders", denied, "folder", "cannot be read.", "Check their permissions."),
    ]
    for level, kind, paths, noun, text, advice in skipped:
        if paths:
            items = tuple(Item((path,), str(path)) for path in paths)
            yield Finding(level, kind, f"{counted(len(paths), noun)} {text}", advice, items)
