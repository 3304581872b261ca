"""Findings about duplicate images: within a part, in training and test, and in both domains."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cyclegan.data.check.findings import Finding, Item, Level, Part, finding
from cyclegan.data.check.inspect import ImageStats
from cyclegan.imaging.perceptual_hash import DUPLICATE, Floats, connected_groups, nearest, perceptual_hashes, recolored
from cyclegan.methods.registry import names_by_layout

FEW = 0.02  # fraction of duplicates within a part that does no harm
MAX_NAMED = 4  # images of a group shown by name
COPIED_DOMAIN = 0.5  # fraction of readable images that are shared from which one domain counts as a copy of the other


class HashedPart(NamedTuple):
    """The readable images of a part and their perceptual hashes."""

    part: Part
    images: list[ImageStats]
    hashes: Floats


Match = tuple[ImageStats, ImageStats]  # two images that show the same content


def check_duplicates(parts: Sequence[Part]) -> Iterator[Finding]:
    """All findings about duplicate images."""
    hashed = [
        HashedPart(p, p.readable, perceptual_hashes([each.thumb for each in p.readable if each.thumb is not None]))
        for p in parts
    ]
    yield from _within_parts(hashed)
    train, test = ([each for each in hashed if each.part.split == split] for split in ("train", "test"))
    yield from _between_splits(train, test)
    for domains in (train, test):
        if len(domains) == 2:
            yield from _between_domains(*domains)


def _within_parts(parts: Sequence[HashedPart]) -> Iterator[Finding]:
    near = "show the same as others at another size, compression or brightness."
    for find_groups, kind, sign, text in (
        (_exact_groups, "duplicates", " = ", "are exact copies of others."),
        (_near_groups, "near duplicates", " ~ ", near),
    ):
        found = [(each.part, find_groups(each)) for each in parts]
        surplus = [(part, sum(len(group) - 1 for group in groups)) for part, groups in found]
        fraction = max((count / len(part.stats) for part, count in surplus if count), default=0.0)
        if fraction:
            subject = " and ".join(part.describe(count) for part, count in surplus if count)
            items = []
            for paths in (tuple(image.path for image in group) for _, groups in found for group in groups):
                more = f" and {len(paths) - MAX_NAMED} more" if len(paths) > MAX_NAMED else ""
                items.append(Item(paths, sign.join(map(str, paths[:MAX_NAMED])) + more))
            level: Level = "warning" if fraction > FEW else "note"
            advice = "Keep one of each, or they get more weight in training."
            yield Finding(level, kind, f"{subject} {text}", advice, tuple(items), fraction)


def _exact_groups(part: HashedPart) -> list[list[ImageStats]]:
    by_digest: dict[bytes, list[ImageStats]] = {}
    for image in part.images:
        by_digest.setdefault(image.digest, []).append(image)
    return [group for group in by_digest.values() if len(group) > 1]


def _near_groups(part: HashedPart) -> list[list[ImageStats]]:
    """Groups of similar images; the first of exact copies represents them all."""
    first = {image.digest: number for number, image in reversed(list(enumerate(part.images)))}
    chosen = sorted(first.values())
    best, similarity = nearest(part.hashes[chosen])
    links = ((i, int(j)) for i, (j, value) in enumerate(zip(best, similarity, strict=True)) if value >= DUPLICATE)
    return [[part.images[chosen[i]] for i in group] for group in connected_groups(links)]


def _find_matches(part: HashedPart, other: HashedPart) -> list[Match]:
    """The images of `part` that show the same as one of `other`, with that one."""
    by_digest = {image.digest: image for image in other.images}
    found = zip(part.images, *nearest(part.hashes, other.hashes), strict=True)
    return [
        (image, by_digest.get(image.digest) or other.images[j])
        for image, j, similarity in found
        if image.digest in by_digest or similarity >= DUPLICATE
    ]


def _item(match: Match) -> Item:
    a, b = match
    return Item((a.path, b.path), f"{a.path} {'=' if a.digest == b.digest else '~'} {b.path}")


def _between_splits(train: Sequence[HashedPart], test: Sequence[HashedPart]) -> Iterator[Finding]:
    leaks = []
    for part in test:
        found: dict[Path, Item] = {}
        for other in sorted(train, key=lambda each: each.part.domain != part.part.domain):  # own domain first
            for match in _find_matches(part, other):
                found.setdefault(match[0].path, _item(match))
        leaks.append((part.part, list(found.values())))
    text = "are also training images, so test results look better than they are."
    yield from finding(leaks, "leaks", text, "Remove them from one of the two.", level="warning")


def _between_domains(a: HashedPart, b: HashedPart) -> Iterator[Finding]:
    small, large = sorted((a, b), key=lambda each: len(each.images))
    matches: dict[bool, list[Item]] = {False: [], True: []}
    for match in _find_matches(small, large):
        thumbs = [image.thumb for image in match if image.thumb is not None]
        matches[recolored(*thumbs)].append(_item(match))
    same = [(small.part, matches[False])]
    text = f"are also images of {large.part.name}"
    if small.part.split == "train" and len(matches[False]) >= COPIED_DOMAIN * max(1, len(small.images)):
        text += ": the domains are copies, so there is nothing to learn."
        yield from finding(same, "equal domains", text, "Use two different kinds of images.", level="error")
    else:
        advice = "Keep each image in one domain only."
        yield from finding(same, "in both domains", f"{text}.", advice, level="warning")
    gray = [each.part.name for each in (a, b) if all(image.gray for image in each.images)]
    how = f"in gray in {gray[0]}" if len(gray) == 1 else "in other colors"
    text = f"show the same as images of {large.part.name}, {how}: they are pairs."
    alone = f", and --method {names_by_layout('single domain')[0]} from the color images alone" if gray else ""
    advice = f"--method {names_by_layout('paired')[0]} learns faster from pairs{alone}."
    yield from finding([(small.part, matches[True])], "recolored domains", text, advice, level="note")
