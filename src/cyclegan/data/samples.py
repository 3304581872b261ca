"""Choosing a few images of a data set: evenly spread, or fixed ones that are shown again and again."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.image import DecodeSpec, resize_and_center_crop, to_tensor
from cyclegan.imaging.source import Source, UnreadableImage


def evenly_spaced(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 to count - 1, evenly spread, the first and the last among them."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))}) if count else []


def strided(rows: Sequence[tuple[Source, ...]], count: int) -> Sequence[tuple[Source, ...]]:
    """Rows from the whole list: as many as are needed, and some for those that cannot be read."""
    return rows[:: max(1, len(rows) // count)]


def load_fixed_images(
    rows: Sequence[tuple[Source, ...]], count: int, size: int, readings: Sequence[DecodeSpec]
) -> list[Tensor]:
    """The first `count` rows that can be read, as one (N, C, size, size) for each column; none if there are none.

    A row is an image, or an image and its truth. They are scaled, and cut at the center.
    """
    read: list[list[Tensor]] = []
    for row in rows:
        if len(read) == count:
            break
        try:
            images = [read_pixels(path, reading) for path, reading in zip(row, readings, strict=False)]
        except UnreadableImage:
            continue
        read.append([to_tensor(resize_and_center_crop(image.values, size)) for image in images])
    return [torch.stack(column) for column in zip(*read, strict=True)]
