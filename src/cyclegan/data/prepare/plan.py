"""What is to be made of which files: a list of tasks, split into training and test by share and seed."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cyclegan.data.layouts import (
    DataFiles,
    SplitFiles,
    find_domains,
    find_images,
    find_pairs,
    find_single_images,
    paired_by_name,
    without_partner,
)
from cyclegan.errors import UsageError
from cyclegan.imaging.encode import IMAGE_SUFFIXES
from cyclegan.imaging.source import Half, Source

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts"})
KINDS = IMAGE_SUFFIXES | VIDEO_SUFFIXES
Layout = Literal["folders", "join", "halve", "edges"]


@dataclass(frozen=True)
class Task:
    """Sources that belong together, and the domains ("A", "B", or "" for both in one file) that they become.

    `name` is the result's path below its folder, without suffix.
    """

    sources: tuple[Source, ...]
    domains: tuple[str, ...]
    name: Path
    split: str = "train"

    @property
    def first(self) -> Path:
        """The file that a sentence names."""
        return file_of(self.sources[0])

    @property
    def is_video(self) -> bool:
        """Whether the source is a video, of which frames are made."""
        return is_video(self.first)


def plan(
    layout: Layout, data: Path | None, a: Path | None, b: Path | None, *, test: float, seed: int
) -> tuple[list[Task], list[str]]:
    """All tasks, and a sentence for what was decided. Raises `UsageError` for data that does not fit the layout.

    A share `test` of the images of each domain (of the pairs, where names pair them) is put aside, unless the data has
    test images already.
    """
    notes: list[str] = []
    if layout == "edges":
        found = find_single_images(data)
        return _tasks([(found.train, "train"), (found.test, "test")], ("A", "B"), test, seed), notes
    if layout == "halve":
        found = find_pairs(data)
        if not all(isinstance(source, Half) for source in found.train.a):
            raise UsageError(f"{data} holds two folders, nothing side by side to be halved; leave out --halve.")
    elif layout == "join":
        found = find_pairs(data, a, b)
    else:
        found = _two_domains(data, a, b, notes)
    if _are_pairs(found):
        notes.append(f"{len(found.train.a)} pairs of equal names, which stay together.")
        domains = ("",) if layout == "join" else ("A", "B")
        return _tasks([(found.train, "train"), (found.test, "test")], domains, test, seed), notes
    if layout == "join":
        raise UsageError("The test images of A and B have no equal names, so that they cannot be joined.")
    notes += _nearly_pairs(found)
    return [*_alone(found, "A", test, seed), *_alone(found, "B", test, seed)], notes


def is_video(source: Source) -> bool:
    """Whether frames are to be made of it."""
    return file_of(source).suffix.lower() in VIDEO_SUFFIXES


def file_of(source: Source) -> Path:
    """The file in which an image is."""
    return source.path if isinstance(source, Half) else source


def _are_pairs(found: DataFiles) -> bool:
    """Whether names pair all images. Videos are no pairs though their names agree, nor is a set half of which is."""
    both = [domain for domain in (found.train, found.test) if domain.a or domain.b]
    return all(paired_by_name(domain) and not any(map(is_video, (*domain.a, *domain.b))) for domain in both)


def _nearly_pairs(found: DataFiles) -> list[str]:
    """A sentence for images that are split as strangers though most have a partner: one stray file does that."""
    domain = found.train
    alone = without_partner(domain)
    if not any(alone) or found.test.a or found.test.b or any(map(is_video, (*domain.a, *domain.b))):
        return []
    if any(2 * len(lost) >= len(files) for lost, files in zip(alone, (domain.a, domain.b), strict=True)):
        return []
    first = file_of((*alone[0], *alone[1])[0])
    return [f"Most names are equal in A and B, but {first} has no partner; if they are pairs, remove such files first."]


def _two_domains(data: Path | None, a: Path | None, b: Path | None, notes: list[str]) -> DataFiles:
    """As `find_domains`, of folders of any names and of videos, too."""
    if data is not None and data.is_dir() and a is None and b is None:
        folders = sorted(path for path in data.iterdir() if path.is_dir() and not path.name.startswith("."))
        known = any(path.name.lower() in ("a", "b", "train", "traina", "trainb") for path in folders)
        if len(folders) == 2 and not known:
            (a, b), data = folders, None
            notes.append(f"A is {a.name}, B is {b.name}.")
    if data is not None or a is None or b is None or (a.is_dir() and b.is_dir()):
        return find_domains(data, a, b, KINDS)
    return DataFiles(SplitFiles(_of(a), _of(b), (_root(a), _root(b))), SplitFiles(), (a.stem, b.stem))


def _of(place: Path) -> tuple[Path, ...]:
    """The images and videos of a folder, or a video alone. Raises `UsageError` if there is none."""
    if place.is_file() and is_video(place):
        return (place,)
    if not place.is_dir():
        why = f"is neither a folder nor a video ({', '.join(sorted(VIDEO_SUFFIXES))})"
        raise UsageError(f"{place} {why if place.exists() else 'does not exist'}.")
    found = find_images(place, KINDS)
    if not found:
        raise UsageError(f"{place} holds no image and no video.")
    return found


def _root(place: Path) -> Path:
    return place if place.is_dir() else place.parent


def _tasks(parts: Sequence[tuple[SplitFiles, str]], domains: tuple[str, ...], test: float, seed: int) -> list[Task]:
    """Tasks of pairs, or of single pictures that are to be both."""
    tasks = []
    for domain, split in parts:
        for a, b in paired_by_name(domain):
            sources = (a,) if a == b else (a, b)
            tasks.append(Task(sources, domains, _name(a, domain.roots[0]), split))
    return _put_aside(tasks, test, f"pairs {seed}")


def _alone(found: DataFiles, side: Literal["A", "B"], test: float, seed: int) -> list[Task]:
    tasks = []
    for domain, split in ((found.train, "train"), (found.test, "test")):
        files, root = (domain.a, domain.roots[0]) if side == "A" else (domain.b, domain.roots[1])
        tasks += [Task((file,), (side,), _name(file, root), split) for file in files]
    return _put_aside(tasks, test, f"{side} {seed}")


def _name(source: Source, root: Path | None) -> Path:
    path = file_of(source)
    return (path.relative_to(root) if root else Path(path.name)).with_suffix("")


def _put_aside(tasks: list[Task], share: float, draw: str) -> list[Task]:
    """A share of the tasks to test on, if none is so far; videos are split by their time instead."""
    pictures = [task for task in tasks if not task.is_video]
    if any(task.split == "test" for task in tasks) or not pictures:
        return tasks
    count = min(round(share * len(pictures)), len(pictures) - 1)  # something is left to train on
    chosen = set(random.Random(draw).sample(range(len(pictures)), count))
    aside = {id(task) for number, task in enumerate(pictures) if number in chosen}
    return [replace(t, split="test") if id(t) in aside else t for t in tasks]


def unlike(tasks: Iterable[Task]) -> list[Task]:
    """The same tasks with names that differ in each folder: those that occur again get a number."""
    taken: set[tuple[str, tuple[str, ...], Path]] = set()
    renamed = []
    for task in tasks:
        name, number = task.name, 1
        while (task.split, task.domains, name) in taken:
            number += 1
            name = task.name.with_name(f"{task.name.name}-{number}")
        taken.add((task.split, task.domains, name))
        renamed.append(replace(task, name=name))
    return renamed
