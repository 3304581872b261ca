"""Sample grids: what the generators make of the same few test images, as one picture with headings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps
from torch import Tensor

from cyclegan.data.images import UnreadableImage, read_image, to_image, to_tensor

HEADING = 24  # pixels above the first row
GAP = 4  # pixels between cells


def fixed_images(files: Sequence[Path], count: int, size: int, channels: int) -> Tensor | None:
    """The first `count` readable files, scaled and cut at the centre to (N, C, size, size); None if there are none."""
    images: list[Tensor] = []
    for path in files:
        if len(images) == count:
            break
        try:
            image = ImageOps.fit(read_image(path, channels), (size, size), Image.Resampling.BICUBIC)
        except UnreadableImage:
            continue
        images.append(to_tensor(image))
    return torch.stack(images) if images else None


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
