"""A contact sheet: images of both domains side by side, as one picture to look at before training."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from cyclegan.data.check.check import printable, size_range
from cyclegan.data.check.findings import Part
from cyclegan.data.check.inspect import Look
from cyclegan.imaging.decode import read_preview
from cyclegan.imaging.source import UnreadableImage

COLUMNS, ROWS = 4, 5  # of each domain
CELL, GAP, MARGIN, HEADING = 144, 6, 24, 60  # pixels
GROUND, INK, FAINT, RULE = (250, 250, 248), (32, 32, 36), (128, 128, 132), (222, 222, 218)


def contact_sheet(parts: Sequence[Part]) -> Image.Image:
    """Evenly chosen training images of each domain, in their own shapes, under headings."""
    train = [part for part in parts if part.split == "train"]
    rows = min(ROWS, max(1, *(-(-len(part.readable) // COLUMNS) for part in train)))
    width = COLUMNS * (CELL + GAP) - GAP + 2 * MARGIN
    sheet = Image.new("RGB", (len(train) * width, HEADING + rows * (CELL + GAP) - GAP + MARGIN), GROUND)
    pen = ImageDraw.Draw(sheet)
    for number, part in enumerate(train):
        left = number * width + MARGIN
        _head(pen, part, left)
        for place, image in enumerate(_chosen(part.readable, rows * COLUMNS)):
            row, column = divmod(place, COLUMNS)
            x, y = left + column * (CELL + GAP), HEADING + row * (CELL + GAP)
            sheet.paste(image, (x + (CELL - image.width) // 2, y + (CELL - image.height) // 2))
        if number:
            pen.line([(left - MARGIN, MARGIN), (left - MARGIN, sheet.height - MARGIN)], RULE)
    return sheet


def _head(pen: ImageDraw.ImageDraw, part: Part, left: int) -> None:
    name, font = printable(part.name), ImageFont.load_default(size=20)
    pen.text((left, 40), name, INK, font, anchor="ls")
    beside = left + pen.textlength(name, font) + 14
    pen.text(
        (beside, 40), f"{part.total} images, {size_range(part)}", FAINT, ImageFont.load_default(size=14), anchor="ls"
    )


def _chosen(looks: Sequence[Look], count: int) -> list[Image.Image]:
    """At most so many images, evenly from all, scaled into a cell."""
    images = []
    for number in sorted({round(i) for i in np.linspace(0, len(looks) - 1, min(count, len(looks)))}):
        try:
            image = read_preview(looks[number].source, looks[number].reading, min_side=CELL)
        except UnreadableImage:  # it could be read a moment ago; the file is gone
            continue
        images.append(ImageOps.contain(image, (CELL, CELL), Image.Resampling.LANCZOS))
    return images
