"""Sample grids: the same few test images and their translations during training, as one image with headings."""

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from cyclegan.imaging.image import to_image
from cyclegan.runs.grid_layout import GAP, HEADING, grid_text


def sample_grid(columns: Mapping[str, Tensor], domains: Sequence[str] = ()) -> Image.Image:
    """An image with a headed column for each (N, C, H, W) in [-1, 1] and a row for each image.

    Cells are at least 96 pixels wide, so that headings fit and small images are visible. Its `info` holds the headings,
    and the names of the source and the target domain.
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
    sheet.info.update(grid_text(list(columns), domains))
    return sheet
