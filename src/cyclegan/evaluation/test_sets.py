"""The images that a direction is measured on, as tensors of one size."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cyclegan.data.layouts import DataFiles, paired_by_name
from cyclegan.data.samples import evenly_spaced
from cyclegan.errors import CycleGANError
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.image import DecodeSpec, resize_and_center_crop, to_tensor
from cyclegan.imaging.perceptual_hash import THUMB, Floats, fingerprints
from cyclegan.imaging.source import Source, UnreadableImage

MOST_TRAINING = 1000  # training images among which copies are looked for


@dataclass(frozen=True)
class Sets:
    """Images (N, C, H, W) in [-1, 1]. `truth` belongs to `inputs`, and is None where it is not known."""

    inputs: Tensor
    names: tuple[str, ...]
    truth: Tensor | None
    target: Tensor  # real images of the target domain that were not learned from, if there are such
    other: Tensor  # further real images of the target; empty if there are none
    known: Floats  # fingerprints of the target's training images
    notes: tuple[str, ...]


def gather(domains: DataFiles, paired: bool, ways: Sequence[DecodeSpec], size: int, most: int) -> Sets:
    """Read what a direction from A to B needs, at most so many images of each kind, scaled and cut to `size` squares.

    Without test images those of the training are taken, and the notes say so; they are pairs if the method is one for
    pairs. `ways` is how images of A and of B are read. Unreadable images are left out. Raises `CycleGANError` when
    none is left.
    """
    test, train, notes = domains.test, domains.train, []
    if not test.a:
        notes.append("There are no test images: these figures are of the training images, and better than of others.")
    inputs = test if test.a else train
    pairs = paired_by_name(inputs) if test.a or paired else []
    rows: list[tuple[Source, ...]] = [*pairs] if pairs else [(path,) for path in inputs.a]
    chosen = [rows[i] for i in evenly_spaced(len(rows), most)]
    if len(chosen) < len(rows):
        notes.append(f"Measured on {len(chosen)} of {len(rows)} images, evenly chosen.")
    read, names = _read_rows(chosen, ways, size)
    if not names:
        raise CycleGANError(f"None of the {len(chosen)} images to measure on can be read.")
    if len(names) < len(chosen):
        notes.append(f"{len(chosen) - len(names)} of {len(chosen)} images cannot be read and do not count.")
    target = read[1] if pairs else _read(_some(test.b or train.b, most), ways[1], size)
    other = _read(_some(train.b, min(most, len(target))), ways[1], size) if test.b else torch.empty(0)
    if not pairs and not test.b and test.a:
        notes.append("There are no test images of the target; its training images are compared with.")
    if not len(target):
        raise CycleGANError("None of the target's images can be read.")
    known = fingerprints([thumb(each) for each in _tensors(_some(train.b, MOST_TRAINING), ways[1], size)])
    if len(train.b) > MOST_TRAINING:
        notes.append(f"Copies were looked for among {MOST_TRAINING:,} of {len(train.b):,} training images.")
    return Sets(read[0], names, read[1] if pairs else None, target, other, known, tuple(notes))


def turned(domains: DataFiles) -> DataFiles:
    """The same data for the direction from B to A."""
    return DataFiles(domains.train.swapped(), domains.test.swapped(), domains.names[::-1])


def _some(files: Sequence[Source], most: int) -> list[Source]:
    return [files[i] for i in evenly_spaced(len(files), most)]


def _read_rows(
    rows: Sequence[tuple[Source, ...]], ways: Sequence[DecodeSpec], size: int
) -> tuple[list[Tensor], tuple[str, ...]]:
    """Each column as a batch, of the rows that can be read whole, and what those are called."""
    read, names = [], []
    for row in rows:
        try:
            read.append([_square(path, way, size) for path, way in zip(row, ways, strict=False)])
        except UnreadableImage:
            continue
        names.append(row[0].stem)
    return [torch.stack(column) for column in zip(*read, strict=True)], tuple(names)


def _read(files: Sequence[Source], way: DecodeSpec, size: int) -> Tensor:
    found = list(_tensors(files, way, size))
    return torch.stack(found) if found else torch.empty(0)


def _tensors(files: Sequence[Source], way: DecodeSpec, size: int) -> Iterable[Tensor]:
    for path in files:
        try:
            yield _square(path, way, size)
        except UnreadableImage:
            continue


def _square(path: Source, way: DecodeSpec, size: int) -> Tensor:
    return to_tensor(resize_and_center_crop(read_pixels(path, way).values, size))


def thumb(image: Tensor) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """An image (C, H, W) in [-1, 1] as 16x16 pixels (16, 16, 3), as the data check's fingerprints are made of."""
    small = torch.nn.functional.adaptive_avg_pool2d(image, THUMB)
    small = small if len(small) in (1, 3) else small.mean(0, keepdim=True)
    levels = ((small.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
    return np.ascontiguousarray(levels.expand(-1, -1, 3).numpy())
