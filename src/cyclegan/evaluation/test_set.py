"""The images on which a direction is evaluated, as tensors of one size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from cyclegan.data.layouts import SplitFiles, paired_by_name
from cyclegan.data.select import evenly_spaced
from cyclegan.errors import CycleGANError
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.image import DecodeSpec, resize_and_center_crop, to_tensor
from cyclegan.imaging.perceptual_hash import THUMB, Floats, perceptual_hashes
from cyclegan.imaging.source import Source, UnreadableImage

MAX_IMAGES = 500  # of each kind
MAX_TRAIN_IMAGES = 1000  # searched for duplicates

T = TypeVar("T")


@dataclass(frozen=True)
class TestSet:
    """Batches (N, C, H, W) in [-1, 1]."""

    inputs: Tensor
    names: tuple[str, ...]  # of the inputs
    truth: Tensor | None  # ground truth of the inputs
    target: Tensor  # real images of the target domain, held out if there are any
    other: Tensor  # further real images of the target domain; empty if there are none
    train_hashes: Floats  # perceptual_hashes of the target's training images
    notes: tuple[str, ...]


def read_test_set(
    train: SplitFiles, test: SplitFiles, paired: bool, specs: Sequence[DecodeSpec], size: int, max_images: int
) -> TestSet:
    """Read the images for the direction from A to B, at most `max_images` of each kind, as squares of `size` pixels.

    Without test images, training images are used (as pairs for a `paired` method). `specs` say how images of A and B
    are decoded. Unreadable images are skipped; the notes name every restriction. Raises `CycleGANError` when no image
    can be read.
    """
    notes = []
    if not test.a:
        notes.append("There are no test images; training images are used, which gives better values than new images.")
    inputs = test if test.a else train
    pairs = paired_by_name(inputs) if test.a or paired else []
    rows: list[tuple[Source, ...]] = [*pairs] if pairs else [(path,) for path in inputs.a]
    chosen = _choose(rows, max_images)
    if len(chosen) < len(rows):
        notes.append(f"Measured on {len(chosen)} of {len(rows)} images, evenly spaced.")
    read = list(_read(chosen, specs, size))
    if not read:
        raise CycleGANError(f"None of the {len(chosen)} test images can be read.")
    if len(read) < len(chosen):
        notes.append(f"{len(chosen) - len(read)} of {len(chosen)} images cannot be read and are skipped.")
    columns = [torch.stack(column) for column in zip(*(images for _, images in read), strict=True)]

    def read_target(files: Sequence[Source], limit: int) -> Tensor:
        images = [image for _, (image,) in _read([(path,) for path in _choose(files, limit)], specs[1:], size)]
        return torch.stack(images) if images else torch.empty(0)

    target = columns[1] if pairs else read_target(test.b or train.b, max_images)
    other = read_target(train.b, min(max_images, len(target))) if test.b else torch.empty(0)
    if not pairs and not test.b and test.a:
        notes.append("There are no test images of the target domain; its training images are used instead.")
    if not len(target):
        raise CycleGANError("None of the images of the target domain can be read.")
    training = _read([(path,) for path in _choose(train.b, MAX_TRAIN_IMAGES)], specs[1:], size)
    train_hashes = perceptual_hashes([thumbnail(image) for _, (image,) in training])
    if len(train.b) > MAX_TRAIN_IMAGES:
        notes.append(f"Duplicates were searched among {MAX_TRAIN_IMAGES:,} of {len(train.b):,} training images.")
    names = tuple(name for name, _ in read)
    return TestSet(columns[0], names, columns[1] if pairs else None, target, other, train_hashes, tuple(notes))


def _choose(rows: Sequence[T], limit: int) -> list[T]:
    return [rows[i] for i in evenly_spaced(len(rows), limit)]


def _read(
    rows: Sequence[tuple[Source, ...]], specs: Sequence[DecodeSpec], size: int
) -> Iterator[tuple[str, list[Tensor]]]:
    """Name and images (C, size, size) of each row whose files can all be read."""
    for row in rows:
        try:
            pixels = [read_pixels(path, spec) for path, spec in zip(row, specs, strict=False)]
            yield row[0].stem, [to_tensor(resize_and_center_crop(each.values, size)) for each in pixels]
        except UnreadableImage:
            continue


def thumbnail(image: Tensor) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """An image (C, H, W) in [-1, 1] as 16x16 pixels (16, 16, 3), the input of `perceptual_hashes`."""
    small = torch.nn.functional.adaptive_avg_pool2d(image, THUMB)
    small = small if len(small) in (1, 3) else small.mean(0, keepdim=True)
    levels = ((small.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
    return np.ascontiguousarray(levels.expand(-1, -1, 3).numpy())
