"""How the translation of one image changed over the training, cut out of the sample grids."""

import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cyclegan.data.samples import evenly_spaced
from cyclegan.runs.sample_grids import GAP, HEADING

MOST_STEPS, MOST_ROWS = 8, 2
_INPUT, _TRANSLATED = 0, 1  # columns of a grid


@dataclass(frozen=True)
class Strip:
    """One fixed test image, and what it was translated to at a few steps."""

    before: Image.Image
    steps: tuple[tuple[int, Image.Image], ...]


def read_strips(samples: Path, direction: str, size: int) -> list[Strip]:
    """Strips for the first images of the grids ``step-NNNNNNN-DIRECTION.png``; none where there are no whole grids.

    `size` is the width in pixels that the images had before the grid enlarged them.
    """
    steps: dict[int, list[tuple[Image.Image, Image.Image]]] = {}
    found = {int(m[1]): p for p in samples.glob("step-*.png") if (m := _name(direction).fullmatch(p.name))}
    numbers = sorted(found)
    for number in (numbers[i] for i in evenly_spaced(len(numbers), MOST_STEPS)):
        if (rows := _rows(found[number], size)) is not None:
            steps[number] = rows
    if not steps:
        return []
    count = min(MOST_ROWS, *(len(rows) for rows in steps.values()))
    last = steps[max(steps)]
    return [Strip(last[row][0], tuple((n, steps[n][row][1]) for n in sorted(steps))) for row in range(count)]


def _name(direction: str) -> re.Pattern[str]:
    return re.compile(rf"step-(\d+)-{re.escape(direction)}\.png")


def _rows(path: Path, size: int) -> list[tuple[Image.Image, Image.Image]] | None:
    """Input and translation of each row of a grid, in their own size; None for a file that is no such grid."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            sheet = image.convert("RGB")
    except Exception:  # decoders raise nearly anything on damaged files
        return None
    side = _side(sheet, size)
    if side is None:
        return None
    return [
        (_cell(sheet, _INPUT, row, side, size), _cell(sheet, _TRANSLATED, row, side, size))
        for row in range((sheet.height - HEADING + GAP) // (side + GAP))
    ]


def _side(sheet: Image.Image, size: int) -> int | None:
    """The width of a cell: a whole multiple of `size` with which columns and rows fill the sheet."""
    for columns in (4, 3, 2):
        side, rest = divmod(sheet.width + GAP, columns)
        side -= GAP
        rows, rest_below = divmod(sheet.height - HEADING + GAP, side + GAP)
        if not rest and side > 0 and side % size == 0 and rows > 0 and not rest_below:
            return side
    return None


def _cell(sheet: Image.Image, column: int, row: int, side: int, size: int) -> Image.Image:
    left, top = column * (side + GAP), HEADING + row * (side + GAP)
    cell = sheet.crop((left, top, left + side, top + side))
    return cell.resize((size, size), Image.Resampling.NEAREST)  # undoes the grid's enlargement exactly
