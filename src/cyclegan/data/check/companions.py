"""Findings about masks next to the images, and about which method fits what is there."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import numpy as np

from cyclegan.config.schema import Config
from cyclegan.data.check.findings import Finding, Item
from cyclegan.data.layouts import DataFiles, SplitFiles, companions, require_equal_sizes, without_partner
from cyclegan.data.preprocessing import MASK
from cyclegan.data.select import evenly_spaced, find_extra_pairs
from cyclegan.errors import UsageError
from cyclegan.imaging.decode import image_size, read_pixels
from cyclegan.imaging.source import Source, UnreadableImage
from cyclegan.system.text import counted

INSPECTED = 200  # masks per domain whose pixels are read
FEW_PAIRS = 3  # equal names that are no coincidence


def companion_findings(files: DataFiles, config: Config) -> Iterator[Finding]:
    """Findings about masks, and a note about a method or option that fits the data."""
    has_masks = False
    for split in (files.train, files.test):
        for images, root, domain in zip((split.a, split.b), split.roots, "AB", strict=True):
            try:
                masks = companions(images, root, domain, "mask")
            except UsageError as error:
                level: Literal["error", "note"] = "error" if config.loss.masks != "off" else "note"
                yield Finding(level, "masks missing", str(error), "Draw the missing masks, or remove those images.")
                continue
            has_masks = has_masks or bool(masks)
            yield from _mask_findings(images, masks, f"{files.names['AB'.index(domain)]}")
    if has_masks and config.loss.masks == "off":
        text = "There are masks, which training does not use unless asked to."
        yield Finding("note", "masks", text, "--masks loss keeps what is outside of their white area.")
    yield from _pair_findings(files.train, config)


def fitting_method(files: DataFiles, findings: Sequence[Finding]) -> str:
    """The method and options that fit what was found, a sentence; docs/methods.md has the reasons."""
    kinds = {finding.kind for finding in findings}
    few = " and --augment diffaugment" if "few images" in kinds else ""
    if files.train.paired and files.train.a == files.train.b:
        return "--method colorization, which learns from color images alone."
    if files.train.paired or kinds & {"pairs", "recolored domains"}:
        return "--method pix2pix if A and B are pairs, pixel on pixel; otherwise --method cyclegan."
    if "a few pairs" in kinds:
        return f"--method cyclegan with --pairs for the images that have a partner{few}."
    if "masks" in kinds:
        return f"--method cyclegan with --masks loss{few}."
    return f"--method cyclegan{few and ' with'}{few[4:]}; --method dcl where shapes have to change."


def _mask_findings(images: Sequence[Source], masks: Sequence[Path], name: str) -> Iterator[Finding]:
    sizes, plain = [], []
    for index in evenly_spaced(len(masks), INSPECTED):
        mask = masks[index]
        with suppress(UnreadableImage):
            size, expected = image_size(mask), image_size(images[index])
            if size != expected:
                text = f"{mask} ({size[0]}x{size[1]}, its image {expected[0]}x{expected[1]})"
                sizes.append(Item((mask,), text))
            values = read_pixels(mask, MASK).values
            if np.ptp(values) == 0:
                plain.append(Item((mask,), str(mask)))
    inspected = f"of {min(len(masks), INSPECTED)} inspected masks of {name}"
    if sizes:
        text = f"{len(sizes)} {inspected} have another size than their images."
        yield Finding("error", "mask sizes", text, "Resize them without smoothing.", tuple(sizes))
    if plain:
        text = f"{len(plain)} {inspected} are all of one value, so their images stay or change as a whole."
        yield Finding("note", "plain masks", text, "Check whether this is intended.", tuple(plain))


def pairs_note(train: SplitFiles, config: Config) -> list[str]:
    """A sentence if an unpaired method is about to train on what looks like pairs, for the fast check."""
    looks_paired = not train.paired and len(train.a) == len(train.b) >= FEW_PAIRS and not any(without_partner(train))
    if not looks_paired or config.data.pairs is not None:
        return []
    return ["Note: All images of A have the name of an image of B. If they are pairs, --method pix2pix serves better."]


def _pair_findings(train: SplitFiles, config: Config) -> Iterator[Finding]:
    """What is wrong with the pairs of --pairs; without those, equal names in both domains, which may be pairs."""
    try:
        if (given := find_extra_pairs(config)) is not None:
            require_equal_sizes(given)
    except UsageError as error:
        yield Finding("error", "pairs", str(error), "Correct the folder of --pairs.")
    if train.paired or config.data.pairs is not None:
        return
    pairs = len(train.a) - len(without_partner(train)[0])
    if pairs >= FEW_PAIRS and pairs >= min(len(train.a), len(train.b)):
        text = "All images of the smaller domain have the name of an image of the other, as pairs do."
        yield Finding("note", "pairs", text, "If they are pairs, --method pix2pix learns from them faster and better.")
    elif pairs >= FEW_PAIRS:
        text = f"{counted(pairs, 'image')} of each domain have equal names, as pairs do."
        advice = "If they are pairs, copy them into a folder with A and B, and add it: --pairs FOLDER."
        yield Finding("note", "a few pairs", text, advice)
