"""How translations changed during training, cut out of the sample grids."""

import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cyclegan.data.select import evenly_spaced
from cyclegan.runs.sample_grids import GAP, HEADING

MAX_STEPS, MAX_ROWS = 8, 2
_INPUT, _TRANSLATED = 0, 1  # columns of a grid


@dataclass(frozen=True)
class Strip:
    """A test image and its translations at several steps."""

    before: Image.Image
    steps: tuple[tuple[int, Image.Image], ...]


def read_strips(samples: Path, direction: str, size: int) -> list[Strip]:
    """Strips of the first images in the grids ``step-NNNNNNN-DIRECTION.png``; empty without intact grids.

    `size` is the width of the images in pixels before the grid enlarged them.
    """
    steps: dict[int, list[tuple[Image.Image, Image.Image]]] = {}
    pattern = re.compile(rf"step-(\d+)-{re.escape(direction)}\.png")
    found = {int(m[1]): p for p in samples.glob("step-*.png") if (m := pattern.fullmatch(p.name))}
    numbers = sorted(found)
    for number in (numbers[i] for i in evenly_spaced(len(numbers), MAX_STEPS)):
        if (rows := _rows(found[number], size)) is not None:
            steps[number] = rows
    if not steps:
        return []
    count = min(MAX_ROWS, *(len(rows) for rows in steps.values()))
    last = steps[max(steps)]
    return [Strip(last[row][0], tuple((n, steps[n][row][1]) for n in sorted(steps))) for row in range(count)]


def _rows(path: Path, size: int) -> list[tuple[Image.Image, Image.Image]] | None:
    """Input and translation of each row of a grid at their original size; None if the file is not a grid."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            sheet = image.convert("RGB")
    except Exception:  # decoders raise almost any exception on damaged files
        return None
    side = _side(sheet, size)
    if side is None:
        return None
    return [
        (_cell(sheet, _INPUT, row, side, size), _cell(sheet, _TRANSLATED, row, side, size))
        for row in range((sheet.height - HEADING + GAP) // (side + GAP))
    ]


def _side(sheet: Image.Image, size: int) -> int | None:
    """The width of a cell: the multiple of `size` for which whole columns and rows fill the sheet."""
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
    return cell.resize((size, size), Image.Resampling.NEAREST)  # exactly inverts the grid's enlargement
