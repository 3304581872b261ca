"""What is to be made of which files: a list of tasks, split into training and test by share and seed."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cyclegan.data.folders import Domain, Domains, find_domains, find_images, find_pairs, find_pictures, paired_by_name
from cyclegan.data.sources import Half, Source
from cyclegan.errors import UsageError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts"})
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
        source = self.sources[0]
        return source.path if isinstance(source, Half) else source

    @property
    def is_video(self) -> bool:
        """Whether the source is a video, of which frames are made."""
        return self.first.suffix.lower() in VIDEO_SUFFIXES


def plan(
    layout: Layout, data: Path | None, a: Path | None, b: Path | None, *, test: float, seed: int
) -> tuple[list[Task], list[str]]:
    """All tasks, and a sentence for what was decided. Raises `UsageError` for data that does not fit the layout.

    A share `test` of the images of each domain (of the pairs, where names pair them) is put aside, unless the data has
    test images already.
    """
    notes: list[str] = []
    if layout == "edges":
        found = find_pictures(data)
        return _tasks([(found.train, "train"), (found.test, "test")], ("A", "B"), test, seed), notes
    if layout == "halve":
        found = find_pairs(data)
        if not all(isinstance(source, Half) for source in found.train.a):
            raise UsageError(f"{data} holds two folders, nothing side by side to be halved; leave out --halve.")
    elif layout == "join":
        found = find_pairs(data, a, b)
    else:
        found = _two_domains(data, a, b, notes)
    paired = [paired_by_name(domain) for domain in (found.train, found.test)]
    if paired[0]:
        notes.append(f"{len(paired[0])} pairs of equal names, which stay together.")
        return _tasks(
            [(found.train, "train"), (found.test, "test")], ("",) if layout == "join" else ("A", "B"), test, seed
        ), notes
    return [*_alone(found, "A", test, seed), *_alone(found, "B", test, seed)], notes


def _two_domains(data: Path | None, a: Path | None, b: Path | None, notes: list[str]) -> Domains:
    """As `find_domains`, of folders of any names and of videos, too."""
    if data is not None and data.is_dir() and a is None and b is None:
        folders = sorted(path for path in data.iterdir() if path.is_dir() and not path.name.startswith("."))
        known = any(path.name.lower() in ("a", "b", "train", "traina", "trainb") for path in folders)
        if len(folders) == 2 and not known:
            (a, b), data = folders, None
            notes.append(f"A is {a.name}, B is {b.name}.")
    if data is not None or a is None or b is None:
        return find_domains(data, a, b)
    return Domains(Domain(_of(a), _of(b), (_root(a), _root(b))), Domain(), (a.stem, b.stem))


def _of(place: Path) -> tuple[Path, ...]:
    """The images and videos of a folder, or a video alone. Raises `UsageError` if there is none."""
    if place.is_file() and place.suffix.lower() in VIDEO_SUFFIXES:
        return (place,)
    if not place.is_dir():
        raise UsageError(f"{place} {'is no video that is known' if place.exists() else 'does not exist'}.")
    videos = sorted(path for path in place.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    found = (*find_images(place), *videos)
    if not found:
        raise UsageError(f"{place} holds no image and no video.")
    return found


def _root(place: Path) -> Path:
    return place if place.is_dir() else place.parent


def _tasks(parts: Sequence[tuple[Domain, str]], domains: tuple[str, ...], test: float, seed: int) -> list[Task]:
    """Tasks of pairs, or of single pictures that are to be both."""
    tasks = []
    for domain, split in parts:
        for a, b in paired_by_name(domain):
            sources = (a,) if a == b else (a, b)
            tasks.append(Task(sources, domains, _name(a, domain.roots[0]), split))
    return _put_aside(tasks, test, f"pairs {seed}")


def _alone(found: Domains, side: Literal["A", "B"], test: float, seed: int) -> list[Task]:
    tasks = []
    for domain, split in ((found.train, "train"), (found.test, "test")):
        files, root = (domain.a, domain.roots[0]) if side == "A" else (domain.b, domain.roots[1])
        tasks += [Task((file,), (side,), _name(file, root), split) for file in files]
    return _put_aside(tasks, test, f"{side} {seed}")


def _name(source: Source, root: Path | None) -> Path:
    path = source.path if isinstance(source, Half) else source
    return (path.relative_to(root) if root else Path(path.name)).with_suffix("")


def _put_aside(tasks: list[Task], share: float, draw: str) -> list[Task]:
    """A share of the tasks to test on, if none is so far; videos are split by their time instead."""
    pictures = [task for task in tasks if not task.is_video]
    if any(task.split == "test" for task in tasks) or not pictures:
        return tasks
    chosen = set(random.Random(draw).sample(range(len(pictures)), round(share * len(pictures))))
    aside = {id(task) for number, task in enumerate(pictures) if number in chosen}
    return [Task(t.sources, t.domains, t.name, "test") if id(t) in aside else t for t in tasks]


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
        renamed.append(Task(task.sources, task.domains, name, task.split))
    return renamed
