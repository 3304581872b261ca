"""Sample grids: what the generators make of the same few test images, as one picture with headings."""

from collections.abc import Mapping, Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cyclegan.data.images import Source, UnreadableImage, read_pixels, to_image
from cyclegan.data.pixels import Reading, fitted, to_tensor

HEADING = 24  # pixels above the first row
GAP = 4  # pixels between cells


def evenly(rows: Sequence[tuple[Source, ...]], count: int) -> Sequence[tuple[Source, ...]]:
    """Rows from the whole list: as many as are needed, and some for those that cannot be read."""
    return rows[:: max(1, len(rows) // count)]


def fixed_images(
    rows: Sequence[tuple[Source, ...]], count: int, size: int, readings: Sequence[Reading]
) -> list[Tensor]:
    """The first `count` rows that can be read, as one (N, C, size, size) for each column; none if there are none.

    A row is an image, or an image and its truth. They are scaled, and cut at the centre.
    """
    read: list[list[Tensor]] = []
    for row in rows:
        if len(read) == count:
            break
        try:
            images = [read_pixels(path, reading) for path, reading in zip(row, readings, strict=False)]
        except UnreadableImage:
            continue
        read.append([to_tensor(fitted(image.values, size)) for image in images])
    return [torch.stack(column) for column in zip(*read, strict=True)]


def grid(columns: Mapping[str, Tensor]) -> Image.Image:
    """A picture with one headed column for each (N, C, H, W) in [-1, 1] and one row for each image.

    Cells are at least 96 pixels wide, so that headings fit and small images can be seen.
    """
    first = next(iter(columns.values()))
    scale = max(1, -(-96 // first.shape[-1]))
    height, width = first.shape[-2] * scale, first.shape[-1] * scale
    sheet = Image.new("RGB", (len(columns) * (width + GAP) - GAP, HEADING + len(first) * (height + GAP) - GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for column, (heading, images) in enumerate(columns.items()):
        left = column * (width + GAP)
        pen.text((left + width / 2, HEADING / 2), heading, fill="black", font=font, anchor="mm")
        for row, image in enumerate(images):
            cell = to_image(image).convert("RGB").resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(cell, (left, HEADING + row * (height + GAP)))
    return sheet
