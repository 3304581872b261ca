"""Which files make a domain: the layouts in which people keep two kinds of images."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cyclegan.data.images import IMAGE_SUFFIXES
from cyclegan.errors import UsageError

SPLITS = {"train": ("train",), "test": ("test", "val")}


@dataclass(frozen=True)
class Domain:
    """The images of both domains in one split, empty where there is none, and the folders they were found in."""

    a: tuple[Path, ...] = ()
    b: tuple[Path, ...] = ()
    roots: tuple[Path | None, Path | None] = (None, None)


@dataclass(frozen=True)
class Domains:
    """A data set: images to train on, images to test on, and what the domains are called."""

    train: Domain
    test: Domain
    names: tuple[str, str] = ("A", "B")


def find_images(folder: Path) -> tuple[Path, ...]:
    """All image files below a folder, in an order that does not depend on the file system.

    Hidden files and folders are passed over, and so are links to folders that were seen already.
    """
    found: list[Path] = []
    seen = {folder.resolve()}
    for where, folders, files in os.walk(folder, followlinks=True):
        below = []
        for name in _visible(folders):
            real = Path(os.path.realpath(Path(where, name)))
            if real not in seen:
                seen.add(real)
                below.append(name)
        folders[:] = below
        found += [Path(where, name) for name in _visible(files) if Path(name).suffix.lower() in IMAGE_SUFFIXES]
    return tuple(sorted(found, key=lambda path: path.relative_to(folder).as_posix()))


def find_domains(data: Path | None = None, a: Path | None = None, b: Path | None = None) -> Domains:
    """The images of a data set, given as one folder `data` or as two folders `a` and `b`.

    One folder holds trainA and trainB, or train/A and train/B, or just A and B; test images are in testA and testB
    (or valA, valB, test/A, ...), and may be missing. Names are matched whatever their case. Raises `UsageError`.
    """
    if data is not None and (a is not None or b is not None):
        raise UsageError(f"The folder {data} and --a or --b were both given; give one folder, or two with --a and --b.")
    if data is not None:
        return _domains_below(data)
    if a is None or b is None:
        given = f"{a or b} is one domain only" if a or b else "No data was given"
        raise UsageError(f"{given}; give one folder that holds both domains, or two with --a and --b.")
    for folder in (a, b):
        _require_folder(folder)
    if a.samefile(b):
        raise UsageError(f"--a and --b are the same folder, {a}; give two different ones.")
    return Domains(_some_images(a, b), Domain(), (a.resolve().name, b.resolve().name))


def paired_by_name(domain: Domain) -> list[tuple[Path, Path]]:
    """Pairs of A and B of one name below their folders, suffixes aside; none if any is double or has no partner.

    Names that agree by chance only are no truth, so it is all or nothing.
    """
    a, b = (
        {(path.relative_to(root) if root else Path(path.name)).with_suffix(""): path for path in files}
        for files, root in zip((domain.a, domain.b), domain.roots, strict=True)
    )
    if len(a) != len(domain.a) or len(b) != len(domain.b) or a.keys() != b.keys():
        return []
    return [(a[name], b[name]) for name in a]


def _domains_below(data: Path) -> Domains:
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
    return Domains(_some_images(a, b), _any_images(*(_split(data, "test", domain) for domain in "AB")))


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


def _any_images(a: Path | None, b: Path | None) -> Domain:
    return Domain(find_images(a) if a else (), find_images(b) if b else (), (a, b))


def _some_images(a: Path, b: Path) -> Domain:
    """The images of two folders. Raises `UsageError` if there is none in one of them."""
    domain = _any_images(a, b)
    for folder, found in ((a, domain.a), (b, domain.b)):
        if not found:
            files = sum(1 for path in folder.rglob("*") if path.is_file())
            holds = f"holds {files} file{'s' * (files != 1)}, none an image" if files else "is empty"
            raise UsageError(f"{folder} {holds}; images end in {', '.join(sorted(IMAGE_SUFFIXES))}.")
    return domain
