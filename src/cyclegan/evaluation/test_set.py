"""The images on which a direction is evaluated, as tensors of one size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cyclegan.config.schema import Config, Direction
from cyclegan.data.layouts import paired_by_name
from cyclegan.data.preprocessing import MASK, decode_specs
from cyclegan.data.select import evenly_spaced, find_data, find_masks, is_paired, notes_on_masks
from cyclegan.errors import CycleGANError
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.image import DecodeSpec, resize_and_center_crop, to_tensor
from cyclegan.imaging.perceptual_hash import THUMB, Floats, perceptual_hashes
from cyclegan.imaging.source import Source, UnreadableImage
from cyclegan.methods.constraints import kept_part, paste

MAX_IMAGES = 500  # of each kind
MAX_TRAIN_IMAGES = 1000  # searched for duplicates


@dataclass(frozen=True)
class TestSet:
    """Batches (N, C, H, W) in [-1, 1]."""

    inputs: Tensor
    names: tuple[str, ...]  # of the inputs
    domains: tuple[str, str]  # names of the source and the target
    truth: Tensor | None  # ground truth of the inputs
    target: Tensor  # real images of the target domain, held out if there are any
    other: Tensor | None  # further real images of the target domain
    train_hashes: Floats  # perceptual_hashes of the target's training images
    notes: tuple[str, ...]
    kept: Tensor | None = None  # (N, 1, H, W), 1 where masks of the inputs keep them, 0 elsewhere; None without masks
    composite: bool = False  # whether the method pastes what must stay over its translations

    def pasted(self, translations: Tensor) -> Tensor:
        """Translations of the inputs as the method composes them: with what must stay, if it pastes that."""
        return paste(self.kept, self.inputs, translations) if self.composite and self.kept is not None else translations


def read_test_set(config: Config, direction: Direction, size: int, max_images: int) -> TestSet:
    """Read the images of a direction, at most `max_images` of each kind, as squares of `size` pixels.

    Without test images, training images are used (as pairs for a paired method). Unreadable images are skipped; the
    notes name every restriction. Raises `UsageError` when the data is missing and `CycleGANError` when no image can be
    read.
    """
    found, specs, notes = find_data(config), decode_specs(config.data, direction), list[str]()
    data = found.oriented(direction)
    train, test = data.train, data.test
    if not test.a:
        notes.append("There are no test images; training images are used, which gives better values than new images.")
    inputs = test if test.a else train
    pairs = paired_by_name(inputs) if test.a or is_paired(config) else []
    rows: list[tuple[Source, ...]] = [*pairs] or [(path,) for path in inputs.a]
    masks = find_masks(inputs, direction)
    notes += notes_on_masks(config, found, direction)
    of_rows = [*specs[: 1 + bool(pairs)], *[MASK] * bool(masks)]
    rows = [(*row, masks[row[0]]) for row in rows] if masks else rows
    read, count = list(_read(rows, of_rows, size, max_images)), min(len(rows), max_images)
    if not read:
        raise CycleGANError(f"None of the {count} test images can be read.")
    if count < len(rows):
        notes.append(f"Measured on {count} of {len(rows)} images, evenly spaced.")
    if len(read) < count:
        notes.append(f"Images that cannot be read are skipped: {count - len(read)} of {count}.")
    columns = [torch.stack(column) for column in zip(*(images for _, images in read), strict=True)]

    def read_b(files: Sequence[Source], limit: int) -> Iterator[Tensor]:
        return (image for _, (image,) in _read([(path,) for path in files], specs[1:], size, limit))

    target = [*columns[1]] if pairs else [*read_b(test.b or train.b, max_images)]
    if not target:
        raise CycleGANError("None of the images of the target domain can be read.")
    if not pairs and not test.b and test.a:
        notes.append("There are no test images of the target domain; its training images are used instead.")
    other = [*read_b(train.b, min(max_images, len(target)))] if test.b else []
    if len(train.b) > MAX_TRAIN_IMAGES:
        notes.append(f"Duplicates were searched among {MAX_TRAIN_IMAGES:,} of {len(train.b):,} training images.")
    return TestSet(
        inputs=columns[0],
        names=tuple(name for name, _ in read),
        domains=data.names,
        truth=columns[1] if pairs else None,
        target=torch.stack(target),
        other=torch.stack(other) if other else None,
        train_hashes=perceptual_hashes([*map(thumbnail, read_b(train.b, MAX_TRAIN_IMAGES))]),
        notes=tuple(notes),
        kept=kept_part(columns[-1], config.loss.keep_part) if masks else None,
        composite=config.loss.masks == "composite",
    )


def _read(
    rows: Sequence[tuple[Source, ...]], specs: Sequence[DecodeSpec], size: int, limit: int
) -> Iterator[tuple[str, list[Tensor]]]:
    """Name and images (C, size, size) of evenly spaced rows, without those whose files cannot all be read."""
    for row in (rows[i] for i in evenly_spaced(len(rows), limit)):
        try:
            pixels = [read_pixels(path, spec) for path, spec in zip(row, specs, strict=False)]
        except UnreadableImage:
            continue
        yield row[0].stem, [to_tensor(resize_and_center_crop(each.values, size)) for each in pixels]


def thumbnail(image: Tensor) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """An image (C, H, W) in [-1, 1] as 16x16 pixels (16, 16, 3), the input of `perceptual_hashes`."""
    small = torch.nn.functional.adaptive_avg_pool2d(image, THUMB)
    small = small if len(small) in (1, 3) else small.mean(0, keepdim=True)
    levels = ((small.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0)
    return np.ascontiguousarray(levels.expand(-1, -1, 3).numpy())
