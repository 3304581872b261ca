"""Planning a prepared data set: a list of tasks, split into training and test by fraction and seed."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cyclegan.data import layouts
from cyclegan.data.layouts import DataFiles, SplitFiles
from cyclegan.data.preprocessing import COMPANIONS
from cyclegan.errors import UsageError
from cyclegan.imaging.encode import IMAGE_SUFFIXES
from cyclegan.imaging.source import Half, Source, path_of
from cyclegan.imaging.video import VIDEO_SUFFIXES

SUFFIXES = IMAGE_SUFFIXES | VIDEO_SUFFIXES
Layout = Literal["folders", "join", "halve", "edges"]


@dataclass(frozen=True)
class Task:
    """Sources that belong together, and the domains they become: "A", "B", "maskA", ..., or "" for both in one file.

    `name` is the path of the result below its folder, without suffix.
    """

    sources: tuple[Source, ...]
    domains: tuple[str, ...]
    name: Path
    split: str = "train"

    @property
    def path(self) -> Path:
        """The first file, which messages name."""
        return path_of(self.sources[0])


def plan(
    layout: Layout, data: Path | None, a: Path | None, b: Path | None, *, test: float, seed: int
) -> tuple[list[Task], tuple[str, str], list[str]]:
    """All tasks, the domains' names, and messages about decisions. Raises `UsageError` for data of another layout.

    The fraction `test` of the images of each domain (or of pairs) becomes the test set, unless the data has one.
    """
    notes: list[str] = []
    if layout == "edges":
        found = layouts.find_single_images(data)
        names = ("edges", data.resolve().name if data else "B")
        return _tasks(found, None, ("A", "B"), test, f"pairs {seed}"), names, notes
    if layout == "halve":
        found = layouts.find_pairs(data)
        if not all(isinstance(source, Half) for source in found.train.a):
            raise UsageError(f"{data} contains two folders, not images side by side; leave out --halve.")
    elif layout == "join":
        found = layouts.find_pairs(data, a, b)
    else:
        found = _find_two_domains(data, a, b, notes)
    splits = [split for split in (found.train, found.test) if split.a or split.b]
    has_videos = any(is_video(source) for split in splits for source in (*split.a, *split.b))
    if not has_videos and all(map(layouts.paired_by_name, splits)):  # names pair all images in every split
        notes.append(f"Found {len(found.train.a)} pairs with equal names, which stay together.")
        folders = ("",) if layout == "join" else ("A", "B")
        tasks = _tasks(found, None, folders, test, f"pairs {seed}")
        return _with_companions(tasks, found) if layout == "folders" else tasks, found.names, notes
    if layout == "join":
        raise UsageError("The test images of A and B do not have equal names, so they cannot be joined.")
    alone = layouts.without_partner(found.train) if len(splits) == 1 and not has_videos else ([], [])
    # A single stray file makes all images unpaired.
    if any(alone) and all(2 * len(a) < len(b) for a, b in zip(alone, (found.train.a, found.train.b), strict=True)):
        first, advice = path_of((*alone[0], *alone[1])[0]), "if they are pairs, remove such files first"
        notes.append(f"Most names are equal in A and B, but {first} has no partner; {advice}.")
    sides = ((0, "A"), (1, "B"))
    tasks = [task for side, name in sides for task in _tasks(found, side, (name,), test, f"{name} {seed}")]
    return _with_companions(tasks, found) if layout == "folders" else tasks, found.names, notes


def _with_companions(tasks: list[Task], found: DataFiles) -> list[Task]:
    """The tasks, each also with the masks and label maps of its images. Raises `UsageError` for a missing one."""
    known: dict[tuple[str, Source], list[tuple[str, Source]]] = {}
    for files in (found.train, found.test):
        for domain, images, root in zip("AB", (files.a, files.b), files.roots, strict=True):
            for kind in COMPANIONS:
                for image, path in zip(images, layouts.companions(images, root, domain, kind), strict=False):
                    known.setdefault((domain, image), []).append((f"{kind}{domain}", path))
    changed = []
    for task in tasks:
        own = [each for key in zip(task.domains, task.sources, strict=False) for each in known.get(key, [])]
        domains, sources = tuple(domain for domain, _ in own), tuple(source for _, source in own)
        changed.append(replace(task, domains=task.domains + domains, sources=task.sources + sources))
    return changed


def is_video(source: Source) -> bool:
    """Whether a file is a video, by its suffix."""
    return path_of(source).suffix.lower() in VIDEO_SUFFIXES


def _find_two_domains(data: Path | None, a: Path | None, b: Path | None, notes: list[str]) -> DataFiles:
    """Like `find_domains`, but also for folders with any names, and for videos."""
    if data is not None and data.is_dir() and a is None and b is None:
        folders = sorted(path for path in data.iterdir() if path.is_dir() and not path.name.startswith("."))
        is_known = any(path.name.lower() in ("a", "b", "train", "traina", "trainb") for path in folders)
        if len(folders) == 2 and not is_known:
            (a, b), data = folders, None
            notes.append(f"A is {a.name}, B is {b.name}.")
    if data is not None or a is None or b is None or (a.is_dir() and b.is_dir()):
        return layouts.find_domains(data, a, b, SUFFIXES)
    root_a, root_b = (each if each.is_dir() else each.parent for each in (a, b))
    train = SplitFiles(_files_of(a), _files_of(b), (root_a, root_b))
    return DataFiles(train, SplitFiles(), (a.stem, b.stem))


def _files_of(path: Path) -> tuple[Path, ...]:
    """The images and videos of a folder, or a single video. Raises `UsageError` without any."""
    if path.is_file() and is_video(path):
        return (path,)
    if not path.is_dir():
        reason = f"is neither a folder nor a video ({', '.join(sorted(VIDEO_SUFFIXES))})"
        raise UsageError(f"{path} {reason if path.exists() else 'does not exist'}.")
    if found := layouts.find_images(path, SUFFIXES):
        return found
    raise UsageError(f"{path} contains no images or videos.")


def _tasks(found: DataFiles, side: int | None, domains: tuple[str, ...], test: float, seed: str) -> list[Task]:
    """Tasks for the images of one side, 0 or 1, or for pairs, or for single images that become both domains.

    If the data has no test images, a random fraction becomes the test split; videos are split by time instead.
    """
    tasks: list[Task] = []
    for files, split in ((found.train, "train"), (found.test, "test")):
        rows: list[tuple[Source, ...]] = [(source,) for source in (files.a, files.b)[side or 0]]
        if side is None:
            rows = [(a,) if a == b else (a, b) for a, b in layouts.paired_by_name(files)]
        root = files.roots[side or 0]
        tasks += [Task(row, domains, layouts.relative_name(path_of(row[0]), root), split) for row in rows]
    images = [number for number, task in enumerate(tasks) if not is_video(task.path)]
    if any(task.split == "test" for task in tasks) or not images:
        return tasks
    count = min(round(test * len(images)), len(images) - 1)  # keep at least one for training
    chosen = {images[i] for i in random.Random(seed).sample(range(len(images)), count)}
    return [replace(task, split="test") if number in chosen else task for number, task in enumerate(tasks)]


def make_names_unique(tasks: Iterable[Task]) -> list[Task]:
    """The same tasks with names that are unique in each folder: repeated ones get a number."""
    unique: dict[tuple[str, tuple[str, ...], Path], Task] = {}
    for task in tasks:
        name, number = task.name, 1
        while (task.split, task.domains, name) in unique:
            number += 1
            name = task.name.with_name(f"{task.name.name}-{number}")
        unique[task.split, task.domains, name] = replace(task, name=name)
    return list(unique.values())
