"""Which files make a domain, and which a pair: the layouts in which people keep two kinds of images."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cyclegan.errors import UsageError
from cyclegan.imaging.decode import image_size
from cyclegan.imaging.encode import IMAGE_SUFFIXES
from cyclegan.imaging.source import Half, Source, UnreadableImage

NAMES = "names.txt"  # in a data set's folder: what A and B are called, a line each
SPLITS = {"train": ("train",), "test": ("test", "val")}


@dataclass(frozen=True)
class SplitFiles:
    """The images of both domains in one split, empty where there is none, and the folders they were found in.

    If they are `paired`, images of the same number belong together.
    """

    a: tuple[Source, ...] = ()
    b: tuple[Source, ...] = ()
    roots: tuple[Path | None, Path | None] = (None, None)
    paired: bool = False

    def swapped(self) -> "SplitFiles":
        """The same images with A and B exchanged."""
        return SplitFiles(self.b, self.a, self.roots[::-1], self.paired)


@dataclass(frozen=True)
class DataFiles:
    """A data set: images to train on, images to test on, and what the domains are called."""

    train: SplitFiles
    test: SplitFiles
    names: tuple[str, str] = ("A", "B")


def find_images(folder: Path, kinds: frozenset[str] = IMAGE_SUFFIXES) -> tuple[Path, ...]:
    """All files of these suffixes below a folder, in an order that does not depend on the file system.

    Hidden files and folders are passed over, and so are links to folders that were seen already or hold this one.
    """
    found: list[Path] = []
    seen = {folder.resolve(), *folder.resolve().parents}
    for where, folders, files in os.walk(folder, followlinks=True):
        below = []
        for name in _visible(folders):
            real = Path(os.path.realpath(Path(where, name)))
            if real not in seen:
                seen.add(real)
                below.append(name)
        folders[:] = below
        found += [Path(where, name) for name in _visible(files) if Path(name).suffix.lower() in kinds]
    return tuple(sorted(found, key=lambda path: path.relative_to(folder).as_posix()))


def find_domains(
    data: Path | None = None, a: Path | None = None, b: Path | None = None, kinds: frozenset[str] = IMAGE_SUFFIXES
) -> DataFiles:
    """The images of a data set, given as one folder `data` or as two folders `a` and `b`.

    One folder holds trainA and trainB, or train/A and train/B, or just A and B; test images are in testA and testB
    (or valA, valB, test/A, ...), and may be missing. Names are matched whatever their case; `kinds` are the suffixes
    of files that count. The domains are called as names.txt says, or as in horse2zebra the folder. Raises `UsageError`.
    """
    if data is not None and (a is not None or b is not None):
        raise UsageError(f"The folder {data} and --a or --b were both given; give one folder, or two with --a and --b.")
    if data is not None:
        return _domains_below(data, kinds)
    if a is None or b is None:
        given = f"{a or b} is one domain only" if a or b else "No data was given"
        raise UsageError(f"{given}; give one folder that holds both domains, or two with --a and --b.")
    for folder in (a, b):
        _require_folder(folder)
    if a.samefile(b):
        raise UsageError(f"--a and --b are the same folder, {a}; give two different ones.")
    return DataFiles(_some_images(a, b, kinds), SplitFiles(), (a.resolve().name, b.resolve().name))


def find_pairs(data: Path | None = None, a: Path | None = None, b: Path | None = None) -> DataFiles:
    """The images of a data set of pairs.

    They stand in two folders, as `find_domains` knows them, under equal names; or in one, two in each file, A at the
    left and B at the right: in data/train and, if there is one, data/test (or val), or in `data` itself. Raises
    `UsageError`, also for a training image without a partner.
    """
    if data is None or _holds_domains(data):
        found = find_domains(data, a, b)
        _require_partners(found.train)
        return replace(found, train=_matched(found.train), test=_matched(found.test))
    train, test = (SplitFiles(_halves(files, "left"), _halves(files, "right"), paired=True) for files in _splits(data))
    return DataFiles(train, test, domain_names(data))


def find_single_images(folder: Path | None) -> DataFiles:
    """One folder of pictures, as pairs of a picture with itself: A is seen in gray, and B in color.

    They are in trainA (or as `find_domains` finds A), in "train", or in the folder itself; those to test on are in
    testA or "test", and may be missing. Raises `UsageError`.
    """
    if folder is None:
        raise UsageError("No data was given; give one folder of color pictures.")
    train, test = _splits(folder, "A")
    return DataFiles(SplitFiles(train, train, paired=True), SplitFiles(test, test, paired=True), ("gray", "color"))


def paired_by_name(domain: SplitFiles) -> list[tuple[Source, Source]]:
    """Pairs of A and B of one name below their folders, suffixes aside; none if any is double or has no partner.

    Names that agree by chance only are no truth, so it is all or nothing.
    """
    if domain.paired:
        return list(zip(domain.a, domain.b, strict=True))
    if any(without_partner(domain)):
        return []
    a, b = (
        dict(zip(names, files, strict=True)) for names, files in zip(_names(domain), (domain.a, domain.b), strict=True)
    )
    return [(a[name], b[name]) for name in a]


def require_equal_sizes(domain: SplitFiles) -> None:
    """Raise `UsageError` for the first pair whose images have unequal sizes; unreadable ones are passed over."""
    for a, b in paired_by_name(domain):
        try:
            if isinstance(a, Half):
                _require_even_width(a.path)
            elif a != b and (size_a := image_size(a)) != (size_b := image_size(b)):
                sizes = " and ".join(f"{width}x{height}" for width, height in (size_a, size_b))
                raise UsageError(f"{a} and {b} are a pair of unequal sizes, {sizes}; bring both to the same size.")
        except UnreadableImage:
            continue


def _require_even_width(path: Path) -> None:
    width, _ = image_size(path)
    if width % 2:
        raise UsageError(
            f"{path} is {width} pixels wide, which cannot be halved; a file holds A at the left and B at the right. "
            "Pairs may be in two folders, too."
        )


def _matched(domain: SplitFiles) -> SplitFiles:
    """The same images in pairs, or as they are if they make none."""
    pairs = paired_by_name(domain)
    return (
        SplitFiles(tuple(a for a, _ in pairs), tuple(b for _, b in pairs), domain.roots, paired=True)
        if pairs
        else domain
    )


def _require_partners(domain: SplitFiles) -> None:
    alone = without_partner(domain)
    if not any(alone):
        return
    side = 0 if alone[0] else 1
    first, other = alone[side][0], domain.roots[1 - side]
    counts = f"{len(alone[0])} of {len(domain.a)} images of A and {len(alone[1])} of {len(domain.b)} of B have none"
    raise UsageError(
        f"{first} has no partner in {other} ({counts}); "
        "the two images of a pair need the same name below their folders, whatever its suffix."
    )


def without_partner(domain: SplitFiles) -> tuple[list[Source], list[Source]]:
    """Images of A and of B whose name does not occur exactly once on either side."""
    names = _names(domain)
    counts = [Counter(each) for each in names]
    a, b = (
        [file for file, name in zip(files, each, strict=True) if any(count[name] != 1 for count in counts)]
        for files, each in zip((domain.a, domain.b), names, strict=True)
    )
    return a, b


def _names(domain: SplitFiles) -> list[list[Path]]:
    """What images are called below their folders, without suffix."""
    return [
        [
            (path.relative_to(root) if root else Path(path.name)).with_suffix("")
            for path in files
            if isinstance(path, Path)
        ]
        for files, root in zip((domain.a, domain.b), domain.roots, strict=True)
    ]


def _halves(files: Iterable[Path], side: Literal["left", "right"]) -> tuple[Half, ...]:
    return tuple(Half(path, side) for path in files)


def _holds_domains(data: Path) -> bool:
    _require_folder(data)
    return any(_split(data, "train", domain) or _sub(data, domain) for domain in "AB")


def _splits(data: Path, domain: str | None = None) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The images to train and to test on of a folder that holds one domain."""
    _require_folder(data)
    if domain is not None and (train := _split(data, "train", domain) or _sub(data, domain)):
        test = _split(data, "test", domain)
    else:
        train = _sub(data, "train") or data
        test = next((folder for name in SPLITS["test"] if (folder := _sub(data, name)) and train != data), None)
    return _images(train), find_images(test) if test else ()


def _domains_below(data: Path, kinds: frozenset[str]) -> DataFiles:
    _require_folder(data)
    a, b = (_split(data, "train", domain) or _sub(data, domain) for domain in "AB")
    if a is None and b is None:
        folders = _visible(path.name for path in data.iterdir() if path.is_dir())
        holds = f"only {', '.join(folders[:5])}{', ...' if len(folders) > 5 else ''}" if folders else "no folder"
        raise UsageError(
            f"{data} has neither trainA and trainB, nor train/A and train/B, nor A and B, but {holds}; "
            "name its folders so, or give two folders with --a and --b."
        )
    if a is None or b is None:
        there, missing = (a, "B") if a is not None else (b, "A")
        assert there is not None
        raise UsageError(f"{there} has no {there.name[:-1]}{missing} beside it; both domains are needed to train.")
    test_a, test_b = (_split(data, "test", domain) for domain in "AB")
    return DataFiles(_some_images(a, b, kinds), _any_images(test_a, test_b, kinds), domain_names(data))


def domain_names(data: Path) -> tuple[str, str]:
    """What the domains of a data set are called: by its names.txt, or by its own name if that is as horse2zebra."""
    with suppress(OSError, UnicodeDecodeError):
        a, b, *others = *filter(None, map(str.strip, (data / NAMES).read_text("utf-8").splitlines())), "", ""
        if b and not any(others):
            return a, b
    found = re.match(r"([A-Za-z]+)2([A-Za-z]+)", data.resolve().name)
    return (found[1], found[2]) if found else ("A", "B")


def _split(data: Path, split: str, domain: str) -> Path | None:
    """The folder of a domain in a split, such as testA, test/A or valA."""
    for name in SPLITS[split]:
        found = _sub(data, name + domain) or _sub(data, name, domain)
        if found is not None:
            return found
    return None


def _sub(folder: Path, *names: str) -> Path | None:
    """The folder below `folder` of these names, whatever their case if there is but one, or None."""
    for name in names:
        matches = [path for path in folder.iterdir() if path.name.lower() == name.lower() and path.is_dir()]
        exact = [path for path in matches if path.name == name]
        if len(exact or matches) != 1:
            return None
        folder = (exact or matches)[0]
    return folder


def _visible(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if not name.startswith("."))


def _require_folder(folder: Path) -> None:
    if not folder.exists():
        raise UsageError(f"{folder} does not exist; give a folder of images.")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; a folder of images is needed.")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UsageError(f"{folder} may not be read; check its permissions.")


def _any_images(a: Path | None, b: Path | None, kinds: frozenset[str]) -> SplitFiles:
    return SplitFiles(find_images(a, kinds) if a else (), find_images(b, kinds) if b else (), (a, b))


def _some_images(a: Path, b: Path, kinds: frozenset[str]) -> SplitFiles:
    """The images of two folders. Raises `UsageError` if there is none in one of them."""
    return SplitFiles(_images(a, kinds), _images(b, kinds), (a, b))


def _images(folder: Path, kinds: frozenset[str] = IMAGE_SUFFIXES) -> tuple[Path, ...]:
    found = find_images(folder, kinds)
    if not found:
        files = sum(1 for path in folder.rglob("*") if path.is_file())
        holds = f"holds {files} file{'s' * (files != 1)}, none an image" if files else "is empty"
        raise UsageError(f"{folder} {holds}; images end in {suffixes()}.")
    return found


def suffixes() -> str:
    """What names of images end in, for a sentence."""
    return ", ".join(sorted(IMAGE_SUFFIXES))
