"""How translations changed during training, cut out of the sample grids."""

import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cyclegan.data.select import evenly_spaced
from cyclegan.runs.sample_grids import GAP, HEADING

MAX_STEPS, MAX_ROWS = 8, 2


@dataclass(frozen=True)
class Strip:
    """A test image and its translations at several steps."""

    before: Image.Image
    steps: tuple[tuple[int, Image.Image], ...]


def read_strips(samples: Path, direction: str, size: int) -> list[Strip]:
    """Strips of the first images in the grids ``step-NNNNNNN-DIRECTION.png``; empty without intact grids.

    `size` is the width of the images in pixels before the grid enlarged them.
    """
    pattern = re.compile(rf"step-(\d+)-{re.escape(direction)}\.png")
    found = sorted((int(m[1]), p) for p in samples.glob("step-*.png") if (m := pattern.fullmatch(p.name)))
    grids = [(step, _read_grid(path, size)) for step, path in (found[i] for i in evenly_spaced(len(found), MAX_STEPS))]
    grids = [(step, rows) for step, rows in grids if rows]
    if not grids:
        return []
    count = min(MAX_ROWS, *(len(rows) for _, rows in grids))
    return [Strip(grids[-1][1][row][0], tuple((step, rows[row][1]) for step, rows in grids)) for row in range(count)]


def _read_grid(path: Path, size: int) -> list[tuple[Image.Image, Image.Image]]:
    """Input and translation of each row of a grid at their original size; empty if the file is not a grid."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            sheet = image.convert("RGB")
    except Exception:  # decoders raise almost any exception on damaged files
        return []
    for columns in (4, 3, 2):
        pitch, rest = divmod(sheet.width + GAP, columns)
        rows, rest_below = divmod(sheet.height - HEADING + GAP, pitch)
        side = pitch - GAP  # a multiple of `size`
        if not rest and not rest_below and rows > 0 and side > 0 and side % size == 0:
            break
    else:
        return []

    def cell(column: int, row: int) -> Image.Image:
        left, top = column * pitch, HEADING + row * pitch
        box = (left, top, left + side, top + side)
        return sheet.resize((size, size), Image.Resampling.NEAREST, box)  # exactly inverts the grid's enlargement

    return [(cell(0, row), cell(1, row)) for row in range(rows)]
