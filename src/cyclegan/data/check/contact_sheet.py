"""A contact sheet: training images of both domains side by side in one image."""

from collections.abc import Sequence
from contextlib import suppress

from PIL import Image, ImageDraw, ImageFont, ImageOps

from cyclegan.data.check.check import escape_unprintable, size_range
from cyclegan.data.check.findings import Part
from cyclegan.data.select import evenly_spaced
from cyclegan.imaging.decode import read_preview
from cyclegan.imaging.source import UnreadableImage

COLUMNS, ROWS = 4, 5  # of each domain
CELL, GAP, MARGIN, HEADING = 144, 6, 24, 60  # pixels
BACKGROUND, TEXT, FAINT, RULE = (250, 250, 248), (32, 32, 36), (128, 128, 132), (222, 222, 218)


def contact_sheet(parts: Sequence[Part]) -> Image.Image:
    """Draw evenly spaced training images of each domain, in their own aspect ratios, under headings."""
    train = [part for part in parts if part.split == "train"]
    rows = min(ROWS, max(1, *(-(-len(part.readable) // COLUMNS) for part in train)))
    width = COLUMNS * (CELL + GAP) - GAP + 2 * MARGIN
    sheet = Image.new("RGB", (len(train) * width, HEADING + rows * (CELL + GAP) - GAP + MARGIN), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for number, part in enumerate(train):
        left = number * width + MARGIN
        name, font = escape_unprintable(part.name), ImageFont.load_default(size=20)
        pen.text((left, 40), name, TEXT, font, anchor="ls")
        caption = f"{part.total} images, {size_range(part)}"
        right = left + pen.textlength(name, font) + 14
        pen.text((right, 40), caption, FAINT, ImageFont.load_default(size=14), anchor="ls")
        thumbnails = []
        for index in evenly_spaced(len(part.readable), rows * COLUMNS):
            stats = part.readable[index]
            with suppress(UnreadableImage):  # deleted since it was inspected
                image = read_preview(stats.source, stats.spec, min_side=CELL)
                thumbnails.append(ImageOps.contain(image, (CELL, CELL), Image.Resampling.LANCZOS))
        for position, image in enumerate(thumbnails):
            row, column = divmod(position, COLUMNS)
            x, y = left + column * (CELL + GAP), HEADING + row * (CELL + GAP)
            sheet.paste(image, (x + (CELL - image.width) // 2, y + (CELL - image.height) // 2))
        if number:
            pen.line([(left - MARGIN, MARGIN), (left - MARGIN, sheet.height - MARGIN)], RULE)
    return sheet
