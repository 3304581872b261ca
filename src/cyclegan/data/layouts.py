"""Folder layouts of data sets: which files belong to a domain, to a split, and to a pair."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cyclegan.config.schema import Direction
from cyclegan.errors import UsageError
from cyclegan.imaging.decode import HEIF_HINT, can_read_heic, image_size
from cyclegan.imaging.encode import HEIC_SUFFIXES, IMAGE_SUFFIXES, LISTED_SUFFIXES
from cyclegan.imaging.source import Half, Source, UnreadableImage, path_of
from cyclegan.system.text import counted

NAMES = "names.txt"  # in a data set's folder: the names of A and B, one per line
SPLITS = {"train": ("train",), "test": ("test", "val")}


@dataclass(frozen=True)
class SplitFiles:
    """The images of both domains in one split, and the folders they are in. Empty if the split does not exist.

    If `paired`, images with the same index belong together.
    """

    a: tuple[Source, ...] = ()
    b: tuple[Source, ...] = ()
    roots: tuple[Path | None, Path | None] = (None, None)
    paired: bool = False


@dataclass(frozen=True)
class DataFiles:
    """A data set: training images, test images, and the names of the domains."""

    train: SplitFiles
    test: SplitFiles
    names: tuple[str, str] = ("A", "B")

    def oriented(self, direction: Direction) -> "DataFiles":
        """The same data with the source of the direction as A: with A and B exchanged for "BtoA"."""
        if direction == "AtoB":
            return self
        train, test = (SplitFiles(s.b, s.a, s.roots[::-1], s.paired) for s in (self.train, self.test))
        return DataFiles(train, test, self.names[::-1])


def find_images(folder: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> tuple[Path, ...]:
    """All files with these suffixes below a folder, sorted by path.

    Skips hidden files and folders, and links to folders already visited or above `folder`.
    """
    found = [path for files, _ in walk(folder) for path in files if path.suffix.lower() in suffixes]
    return tuple(sorted(found, key=Path.as_posix))


def walk(folder: Path, on_error: Callable[[OSError], object] | None = None) -> Iterator[tuple[list[Path], list[Path]]]:
    """For each folder from `folder` downward: its visible files, and links that are skipped as already visited."""
    visited = {folder.resolve(), *folder.resolve().parents}
    for root, folders, files in os.walk(folder, followlinks=True, onerror=on_error):
        skipped, names = [], _visible(folders)
        folders.clear()
        for path in (Path(root, name) for name in names):
            real = Path(os.path.realpath(path))
            if real in visited:
                skipped.append(path)
            else:
                visited.add(real)
                folders.append(path.name)
        yield [Path(root, name) for name in _visible(files)], skipped


def find_domains(
    data: Path | None = None, a: Path | None = None, b: Path | None = None, suffixes: frozenset[str] = IMAGE_SUFFIXES
) -> DataFiles:
    """The images of a data set, given as one folder `data` or as two folders `a` and `b`.

    One folder contains trainA and trainB, or train/A and train/B, or just A and B; optional test images are in testA
    and testB (or valA and valB, test/A, ...), in any case. Domain names come from names.txt, or from a folder name
    like horse2zebra. Raises `UsageError`.
    """
    if data is not None and (a is not None or b is not None):
        raise UsageError(f"Both the folder {data} and --a or --b were given; give one folder, or --a and --b.")
    if data is not None:
        _require_folder(data)
        return _find_domains_below(data, suffixes)
    if a is None or b is None:
        given = f"{a or b} is only one domain" if a or b else "No data was given"
        raise UsageError(f"{given}; give one folder with both domains, or two folders with --a and --b.")
    for folder in (a, b):
        _require_folder(folder)
    if a.samefile(b):
        raise UsageError(f"--a and --b are the same folder, {a}; give two different ones.")
    train = SplitFiles(_require_images(a, suffixes), _require_images(b, suffixes), (a, b))
    names = a.resolve().name, b.resolve().name
    is_split = [name.lower().removeprefix("train") for name in names] == ["a", "b"]
    return DataFiles(train, SplitFiles(), domain_names(a.resolve().parent) if is_split else names)


def find_pairs(data: Path | None = None, a: Path | None = None, b: Path | None = None) -> DataFiles:
    """The images of a data set of pairs.

    Either two folders, as for `find_domains`, with equal file names; or one folder of files with two images side by
    side, A on the left: data/train and optional data/test (or val), or `data` itself. Raises `UsageError`, also for a
    training image without partner.
    """
    if data is not None:
        _require_folder(data)
    if data is None or any(_split_folder(data, "train", domain) or _subfolder(data, domain) for domain in "AB"):
        found = find_domains(data, a, b)
        if any(alone := without_partner(found.train)):
            total_a, total_b = len(found.train.a), len(found.train.b)
            side = 0 if alone[0] else 1
            raise UsageError(
                f"{alone[side][0]} has no partner in {found.train.roots[1 - side]} ({len(alone[0])} of {total_a} "
                f"images of A and {len(alone[1])} of {total_b} of B have none); "
                "the two images of a pair need the same name below their folders; suffixes may differ."
            )
        return replace(found, train=_pair_up(found.train), test=_pair_up(found.test))
    train, test = (
        SplitFiles(tuple(Half(f, "left") for f in files), tuple(Half(f, "right") for f in files), paired=True)
        for files in _find_single_splits(data)
    )
    return DataFiles(train, test, domain_names(data))


def find_single_images(folder: Path | None) -> DataFiles:
    """The images of one folder, each paired with itself: A is its gray version, B the color image.

    Training images are in trainA (or wherever `find_domains` finds A), "train", or the folder itself; optional test
    images in testA or "test". Raises `UsageError`.
    """
    if folder is None:
        raise UsageError("No data was given; give one folder of color images.")
    _require_folder(folder)
    train, test = _find_single_splits(folder, "A")
    return DataFiles(SplitFiles(train, train, paired=True), SplitFiles(test, test, paired=True), ("gray", "color"))


def paired_by_name(files: SplitFiles) -> list[tuple[Source, Source]]:
    """Pairs of A and B with equal names below their folders, ignoring suffixes.

    Empty if any name is ambiguous or missing on one side: some equal names may be a coincidence.
    """
    if files.paired:
        return list(zip(files.a, files.b, strict=True))
    if any(without_partner(files)):
        return []
    names_a, names_b = _relative_names(files)
    by_name = dict(zip(names_b, files.b, strict=True))
    return [(a, by_name[name]) for name, a in zip(names_a, files.a, strict=True)]


def require_equal_sizes(files: SplitFiles) -> None:
    """Raise `UsageError` for the first pair of images with different sizes; unreadable images are skipped."""
    for a, b in paired_by_name(files):
        with suppress(UnreadableImage):
            if isinstance(a, Half):
                if (width := image_size(a.path)[0]) % 2:
                    raise UsageError(
                        f"{a.path} is {width} pixels wide, which cannot be halved; each file must contain A on the "
                        "left and B on the right. Alternatively, put pairs into two folders."
                    )
            elif a != b and (size_a := image_size(a)) != (size_b := image_size(b)):
                sizes = " and ".join(f"{width}x{height}" for width, height in (size_a, size_b))
                raise UsageError(f"{a} and {b} are a pair of different sizes, {sizes}; make them the same size.")


def companions(images: Sequence[Source], root: Path | None, domain: str, kind: str) -> tuple[Path, ...]:
    """The mask (or whatever `kind` says) of each image of a domain, from the folder next to theirs; empty without one.

    Next to trainA that is maskA or trainmaskA, next to testA testmaskA, next to photos photos-mask. Files have the
    image's name; suffixes may differ. Raises `UsageError` for an image without exactly one.
    """
    if root is None:
        return ()
    split = root.name[:-1].lower() if root.name[-1:].lower() == domain.lower() else None
    names = [f"{root.name}-{kind}"] if split is None else [f"{split}{kind}{domain}"]
    names += [f"{kind}{domain}"] * (split == "train")
    folder = next(filter(None, (_subfolder(root.parent, name) for name in names)), None)
    if folder is None:
        return ()
    by_name: dict[Path, list[Path]] = {}
    for path in find_images(folder):
        by_name.setdefault(relative_name(path, folder), []).append(path)
    found = [by_name.get(relative_name(path_of(image), root), []) for image in images]
    wrong = [(image, paths) for image, paths in zip(images, found, strict=True) if len(paths) != 1]
    if wrong:
        image, paths = wrong[0]
        what = f"has {len(paths)} {kind}s" if paths else f"has no {kind}"
        raise UsageError(
            f"{image} {what} in {folder} ({len(wrong)} of {len(images)} images); each image needs one with its name."
        )
    return tuple(paths[0] for paths in found)


def without_partner(files: SplitFiles) -> tuple[list[Source], list[Source]]:
    """Images of A and of B whose name does not occur exactly once on each side."""
    names = _relative_names(files)
    counts = [Counter(each) for each in names]
    a, b = (
        [file for file, name in zip(side, each, strict=True) if any(count[name] != 1 for count in counts)]
        for side, each in zip((files.a, files.b), names, strict=True)
    )
    return a, b


def _pair_up(files: SplitFiles) -> SplitFiles:
    """The same images in pairs, or unchanged if their names do not match."""
    a, b = zip(*pairs, strict=True) if (pairs := paired_by_name(files)) else ((), ())
    return SplitFiles(a, b, files.roots, paired=True) if pairs else files


def _relative_names(files: SplitFiles) -> list[list[Path]]:
    """The names of A and of B below their folders, without suffix."""
    sides = zip((files.a, files.b), files.roots, strict=True)
    return [[relative_name(path, root) for path in side if isinstance(path, Path)] for side, root in sides]


def relative_name(path: Path, root: Path | None) -> Path:
    """The path below its root, or the file name alone without a root; without suffix."""
    return (path.relative_to(root) if root else Path(path.name)).with_suffix("")


def _find_single_splits(data: Path, domain: str | None = None) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Training and test images of a folder with one kind of files."""
    if domain is not None and (train := _split_folder(data, "train", domain) or _subfolder(data, domain)):
        test = _split_folder(data, "test", domain)
    else:
        train = _subfolder(data, "train") or data
        candidates = (_subfolder(data, name) for name in SPLITS["test"] if train != data)
        test = next(filter(None, candidates), None)
    return _require_images(train), find_images(test) if test else ()


def _find_domains_below(data: Path, suffixes: frozenset[str]) -> DataFiles:
    a, b = (_split_folder(data, "train", domain) or _subfolder(data, domain) for domain in "AB")
    if a is None and b is None:
        folders = _visible(path.name for path in data.iterdir() if path.is_dir())
        listed = f"only {', '.join(folders[:5])}{', ...' if len(folders) > 5 else ''}" if folders else "no folders"
        raise UsageError(
            f"{data} must contain trainA and trainB, or train/A and train/B, or A and B, but contains {listed}; "
            "rename its folders, or give two folders with --a and --b, to train or to `cyclegan data prepare`; for "
            "files with A and B side by side, add --method pix2pix."
        )
    if a is None or b is None:
        existing, missing = (a, "B") if a is not None else (b, "A")
        assert existing is not None
        raise UsageError(f"{existing} exists, but {existing.name[:-1]}{missing} is missing; both are required.")
    test_a, test_b = (_split_folder(data, "test", domain) for domain in "AB")
    train = SplitFiles(_require_images(a, suffixes), _require_images(b, suffixes), (a, b))
    files_a, files_b = (find_images(folder, suffixes) if folder else () for folder in (test_a, test_b))
    return DataFiles(train, SplitFiles(files_a, files_b, (test_a, test_b)), domain_names(data))


def domain_names(data: Path) -> tuple[str, str]:
    """The names of a data set's domains: from its names.txt, or from a folder name like horse2zebra."""
    with suppress(OSError, UnicodeDecodeError):
        a, b, *others = *filter(None, map(str.strip, (data / NAMES).read_text("utf-8").splitlines())), "", ""
        if b and not any(others):
            return a, b
    found = re.match(r"([A-Za-z]+)2([A-Za-z]+)", data.resolve().name)
    return (found[1], found[2]) if found else ("A", "B")


def _split_folder(data: Path, split: str, domain: str) -> Path | None:
    """The folder of a domain in a split, such as testA, test/A or valA."""
    found = (_subfolder(data, name + domain) or _subfolder(data, name, domain) for name in SPLITS[split])
    return next(filter(None, found), None)


def _subfolder(folder: Path, *names: str) -> Path | None:
    """The nested subfolder with these names, in any case if that is unambiguous, or None."""
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
    if not folder.is_dir():
        raise UsageError(f"{folder} {'is a file' if folder.exists() else 'does not exist'}; give a folder of images.")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise UsageError(f"{folder} cannot be read; check its permissions.")


def _require_images(folder: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> tuple[Path, ...]:
    found = find_images(folder, suffixes)
    if not found:
        files = sum(1 for path in folder.rglob("*") if path.is_file())
        content = f"contains {counted(files, 'file')}, but no images" if files else "is empty"
        raise UsageError(f"{folder} {content}; images end in {LISTED_SUFFIXES}.")
    if all(path.suffix.lower() in HEIC_SUFFIXES for path in found) and not can_read_heic():
        raise UsageError(f"{folder} contains {counted(len(found), 'image')}, all HEIC; {HEIF_HINT}.")
    return found
