"""Which files make a domain: the layouts in which people keep two kinds of images."""

import os
from dataclasses import dataclass
from pathlib import Path

from cyclegan.data.images import IMAGE_SUFFIXES
from cyclegan.errors import UsageError

SPLITS = {"train": ("train",), "test": ("test", "val")}


@dataclass(frozen=True)
class Domain:
    """The images of both domains in one split; empty where there is none."""

    a: tuple[Path, ...] = ()
    b: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Domains:
    """A data set: images to train on, images to test on, and what the domains are called."""

    train: Domain
    test: Domain
    names: tuple[str, str] = ("A", "B")


def find_images(folder: Path) -> tuple[Path, ...]:
    """All image files below a folder, in an order that does not depend on the file system.

    Hidden files and folders are passed over, and so are links to folders that lead back up.
    """
    found = []
    seen = {folder.resolve()}
    for where, folders, files in os.walk(folder, followlinks=True):
        below = []
        for name in sorted(folders):
            real = (Path(where) / name).resolve()
            if not name.startswith(".") and real not in seen:
                seen.add(real)
                below.append(name)
        folders[:] = below
        found += [
            Path(where) / name
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return tuple(sorted(found, key=lambda path: path.relative_to(folder).as_posix()))


def find_domains(data: Path | None = None, a: Path | None = None, b: Path | None = None) -> Domains:
    """The images of a data set, given as one folder `data` or as two folders `a` and `b`.

    One folder holds trainA and trainB, or train/A and train/B, or just A and B; test images are in testA and testB
    (or valA, valB, test/A, ...), and may be missing. Names are matched whatever their case. Raises `UsageError`.
    """
    if a is not None and b is not None and data is None:
        if a.resolve() == b.resolve():
            raise UsageError(f"--a and --b are both {a}; give two different folders.")
        return Domains(Domain(_some_images(a), _some_images(b)), Domain(), (a.resolve().name, b.resolve().name))
    if data is None or a is not None or b is not None:
        raise UsageError("Give one folder DATA, or the two folders --a and --b.")
    _require_folder(data)
    train = {d: _split(data, "train", d) or _sub(data, (d,)) for d in "AB"}
    if not any(train.values()):
        raise UsageError(
            f"{data} has neither trainA and trainB, nor train/A and train/B, nor A and B; "
            "name its folders so, or give two folders with --a and --b."
        )
    for domain, other in (("A", "B"), ("B", "A")):
        if train[domain] is None:
            there = train[other]
            missing = str(there)[: -len(other)] + domain if there is not None else domain
            raise UsageError(f"{there} has no {missing} beside it; both domains are needed to train.")
    test = {d: _split(data, "test", d) for d in "AB"}
    return Domains(
        Domain(*(_some_images(folder) for folder in train.values() if folder is not None)),
        Domain(*(find_images(folder) if folder is not None else () for folder in test.values())),
    )


def paired_by_name(domain: Domain) -> list[tuple[Path, Path]]:
    """Pairs of A and B of one name, suffixes aside; none if any name occurs twice or has no partner.

    Names that agree by chance only are no truth, so it is all or nothing.
    """
    a, b = ({path.stem: path for path in files} for files in (domain.a, domain.b))
    if len(a) != len(domain.a) or len(b) != len(domain.b) or a.keys() != b.keys():
        return []
    return [(a[name], b[name]) for name in a]


def _split(data: Path, split: str, domain: str) -> Path | None:
    for name in SPLITS[split]:
        found = _sub(data, (name + domain,)) or _sub(data, (name, domain))
        if found is not None:
            return found
    return None


def _sub(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The folder below `folder` of these names whatever their case, or None."""
    for name in names:
        matches = [p for p in sorted(folder.iterdir()) if p.name.lower() == name.lower() and p.is_dir()]
        exact = [p for p in matches if p.name == name]
        if not matches:
            return None
        folder = (exact or matches)[0]
    return folder


def _require_folder(folder: Path) -> None:
    if not folder.exists():
        raise UsageError(f"{folder} does not exist.")
    if not folder.is_dir():
        raise UsageError(f"{folder} is a file; a folder of images is needed.")


def _some_images(folder: Path) -> tuple[Path, ...]:
    _require_folder(folder)
    found = find_images(folder)
    if not found:
        files = sum(1 for path in folder.rglob("*") if path.is_file())
        holds = f"holds {files} files but no image" if files else "is empty"
        raise UsageError(f"{folder} {holds}; images end in {', '.join(sorted(IMAGE_SUFFIXES))}.")
    return found
