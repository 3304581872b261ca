"""Findings about images that show the same: within a part, in training and test, and in both domains."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cyclegan.data.check.findings import Cases, Finding, Item, Level, Part
from cyclegan.data.check.inspect import Look
from cyclegan.imaging.perceptual_hash import ALIKE, Floats, fingerprints, groups, nearest, recolored

FEW = 0.02  # share of copies within a part up to which they do no harm
NAMED = 4  # images of a group that are named to people
MOST = 0.5  # share of a domain from which it counts as a copy of the other


class Gallery(NamedTuple):
    """The readable images of a part and their fingerprints."""

    part: Part
    looks: list[Look]
    prints: Floats


class Match(NamedTuple):
    """Two images that show the same."""

    one: Look
    other: Look

    @property
    def recolored(self) -> bool:
        """Whether their colors differ."""
        assert self.one.thumb is not None and self.other.thumb is not None
        return recolored(self.one.thumb, self.other.thumb)

    def item(self) -> Item:
        """As a case of a finding."""
        sign = "=" if self.one.digest == self.other.digest else "~"
        return Item((self.one.path, self.other.path), f"{self.one.path} {sign} {self.other.path}")


def copies(parts: Sequence[Part]) -> Iterator[Finding]:
    """All findings about images that show the same."""
    galleries = [_gallery(part) for part in parts]
    yield from _within(galleries)
    train, test = ([each for each in galleries if each.part.split == split] for split in ("train", "test"))
    yield from _leaks(train, test)
    for domains in (train, test):
        if len(domains) == 2:
            yield from _across(*domains)


def _gallery(part: Part) -> Gallery:
    looks = part.readable
    return Gallery(part, looks, fingerprints([look.thumb for look in looks if look.thumb is not None]))


def _within(galleries: Sequence[Gallery]) -> Iterator[Finding]:
    same = [(gallery.part, _equal(gallery)) for gallery in galleries]
    alike = [(gallery.part, _alike(gallery)) for gallery in galleries]
    for found, kind, sign, text in (
        (same, "duplicates", " = ", "are copies of others, byte for byte."),
        (alike, "near duplicates", " ~ ", "show what others show, in another size, compression or brightness."),
    ):
        surplus = [(part, sum(len(group) - 1 for group in each)) for part, each in found]
        share = max((count / len(part.looks) for part, count in surplus if count), default=0.0)
        if share:
            subject = " and ".join(part.images(count) for part, count in surplus if count)
            items = tuple(_group([look.path for look in group], sign) for _, each in found for group in each)
            level: Level = "warning" if share > FEW else "note"
            yield Finding(level, kind, f"{subject} {text}", "Keep one of each, or they count more.", items, share)


def _group(paths: Sequence[Path], sign: str) -> Item:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return Item(tuple(paths), sign.join(map(str, paths[:NAMED])) + more)


def _equal(gallery: Gallery) -> list[list[Look]]:
    by_digest: dict[bytes, list[Look]] = {}
    for look in gallery.looks:
        by_digest.setdefault(look.digest, []).append(look)
    return [each for each in by_digest.values() if len(each) > 1]


def _alike(gallery: Gallery) -> list[list[Look]]:
    """Groups of images that are not equal; of those that are, the first stands for all."""
    first = {look.digest: number for number, look in reversed(list(enumerate(gallery.looks)))}
    chosen = sorted(first.values())
    best, likeness = nearest(gallery.prints[chosen])
    links = ((i, int(j)) for i, (j, much) in enumerate(zip(best, likeness, strict=True)) if much >= ALIKE)
    return [[gallery.looks[chosen[i]] for i in group] for group in groups(links)]


def _matches(one: Gallery, other: Gallery) -> list[Match]:
    """For each image of `one` that shows the same as one of `other`, both."""
    by_digest = {look.digest: look for look in other.looks}
    best, likeness = nearest(one.prints, other.prints)
    found = []
    for look, j, much in zip(one.looks, best, likeness, strict=True):
        if look.digest in by_digest:
            found.append(Match(look, by_digest[look.digest]))
        elif much >= ALIKE:
            found.append(Match(look, other.looks[j]))
    return found


def _leaks(train: Sequence[Gallery], test: Sequence[Gallery]) -> Iterator[Finding]:
    leaks = []
    for gallery in test:
        found: dict[Path, Item] = {}
        for other in sorted(train, key=lambda each: each.part.domain != gallery.part.domain):  # the own domain first
            for match in _matches(gallery, other):
                found.setdefault(match.one.path, match.item())
        leaks.append((gallery.part, list(found.values())))
    if (cases := Cases(leaks)).share:
        text = "are trained on, too, so results on them look better than they are."
        yield cases.finding("warning", "leaks", text, "Remove them from test or from train.")


def _across(a: Gallery, b: Gallery) -> Iterator[Finding]:
    small, large = sorted((a, b), key=lambda gallery: len(gallery.looks))
    matches = _matches(small, large)
    same, other = ([match.item() for match in matches if match.recolored == so] for so in (False, True))
    if same:
        found = Cases([(small.part, same)])
        if found.share >= MOST and small.part.split == "train":
            text = f"are images of {large.part.name}, too: the domains are copies, and there is nothing to learn."
            yield found.finding("error", "equal domains", text, "Give two different kinds of images.")
        else:
            text = f"are images of {large.part.name}, too."
            yield found.finding("warning", "in both domains", text, "Decide for each to which domain it belongs.")
    if other:
        gray = [each.part.name for each in (a, b) if all(look.gray for look in each.looks)]
        how = f"in gray in {gray[0]}" if len(gray) == 1 else "in other colors"
        text = f"show what images of {large.part.name} show, {how}: they are pairs."
        alone = ", --method colorization from the colored ones alone" if gray else ""
        advice = f"--method pix2pix learns faster from pairs{alone}."
        yield Cases([(small.part, other)]).finding("note", "recolored domains", text, advice)
