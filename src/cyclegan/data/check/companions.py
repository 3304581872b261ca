"""Findings about masks and label maps next to the images, and about which method fits what is there."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from cyclegan.config.schema import Config
from cyclegan.data.check.findings import Finding, Item
from cyclegan.data.layouts import DataFiles, SplitFiles, companions, require_equal_sizes, without_partner
from cyclegan.data.preprocessing import MASK
from cyclegan.data.select import evenly_spaced, find_extra_pairs
from cyclegan.errors import UsageError
from cyclegan.imaging.decode import image_size, read_labels, read_pixels
from cyclegan.imaging.source import Source, UnreadableImage
from cyclegan.system.text import counted, listed, quote

INSPECTED = 200  # masks and label maps per domain whose pixels are read
FEW_PAIRS = 3  # equal names that are no coincidence


def companion_findings(files: DataFiles, config: Config) -> Iterator[Finding]:
    """Findings about masks, label maps and pairs, and a note about a method or option that fits the data."""
    for kind, used, advice in (
        ("mask", config.loss.masks != "off", "--masks loss keeps what is outside of their white area."),
        ("label", config.loss.labels, "--labels asks translations to show the same labels."),
    ):
        found = False
        for split in (files.train, files.test):
            for images, root, domain in zip((split.a, split.b), split.roots, "AB", strict=True):
                try:
                    paths = companions(images, root, domain, kind)
                except UsageError as error:
                    level: Literal["error", "note"] = "error" if used else "note"
                    yield Finding(level, f"{kind}s missing", str(error), "Draw them, or remove those images.")
                    continue
                found = found or bool(paths)
                yield from _file_findings(images, paths, kind, files.names["AB".index(domain)])
        if found and not used:
            yield Finding(
                "note", f"{kind}s", f"There are {kind}s, which training does not use unless asked to.", advice
            )
    yield from _pair_findings(files.train, config)


def fitting_method(files: DataFiles, findings: Sequence[Finding], config: Config) -> str:
    """The method that fits what was found, with options, a sentence; docs/methods.md has the reasons.

    Options that the configuration has already are among them.
    """
    kinds, data, loss = {finding.kind for finding in findings}, config.data, config.loss
    few = ["--augment diffaugment"] * ("few images" in kinds)
    if files.train.paired and files.train.a == files.train.b:
        return f"--method colorization{_with(few)}, which learns from color images alone."
    kept = [f"--masks {'loss' if loss.masks == 'off' else loss.masks}"] * ("masks" in kinds or loss.masks != "off")
    kept += ["--labels"] * ("labels" in kinds or loss.labels)
    if files.train.paired or kinds & {"pairs", "recolored domains"}:
        unpaired = f"--method cyclegan{_with(kept + few)}"
        return f"--method pix2pix{_with(few)} if A and B are pairs, pixel on pixel; otherwise {unpaired}."
    if "a few pairs" in kinds or data.pairs is not None:
        pairs = quote("--pairs", "FOLDER" if data.pairs is None else data.pairs)
        return f"--method cyclegan{_with([pairs, *kept, *few])}."
    shapes = "" if kept else "; --method dcl where shapes have to change"
    return f"--method cyclegan{_with(kept + few)}{shapes}."


def _with(options: Sequence[str]) -> str:
    """Options as a part of a sentence: " with --labels and --rotate"; empty without any."""
    return f" with {listed(options)}" if options else ""


def _file_findings(images: Sequence[Source], paths: Sequence[Path], kind: str, name: str) -> Iterator[Finding]:
    """Masks or label maps of another size than their images, unreadable ones, and those of a single value."""
    sizes, plain, unreadable = [], [], []
    for index in evenly_spaced(len(paths), INSPECTED):
        path = paths[index]
        try:
            size, expected = image_size(path), image_size(images[index])
            if size != expected:
                text = f"{path} ({size[0]}x{size[1]}, its image {expected[0]}x{expected[1]})"
                sizes.append(Item((path,), text))
            values = read_labels(path) if kind == "label" else read_pixels(path, MASK).values
            if np.ptp(values) == 0:
                plain.append(Item((path,), str(path)))
        except UnreadableImage as error:
            unreadable.append(Item((path,), str(error)))
    inspected = f"of {min(len(paths), INSPECTED)} inspected {kind}s of {name}"
    if sizes:
        text = f"{len(sizes)} {inspected} have another size than their images."
        yield Finding("error", f"{kind} sizes", text, "Resize them without smoothing.", tuple(sizes))
    if unreadable:
        text = f"{len(unreadable)} {inspected} cannot be read."
        yield Finding("error", f"unreadable {kind}s", text, "Correct or replace them.", tuple(unreadable))
    if plain:
        text = f"{len(plain)} {inspected} have a single value."
        yield Finding("note", f"plain {kind}s", text, "Check whether this is intended.", tuple(plain))


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
