"""Where the cells of a sample grid are, and what its PNG file says about them."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image
from PIL.PngImagePlugin import PngInfo

HEADING = 24  # pixels above the first row
GAP = 4  # pixels between cells


@dataclass(frozen=True)
class GridLayout:
    """Columns and rows of a grid, and the side of its square cells in pixels."""

    columns: int
    rows: int
    side: int

    def box(self, column: int, row: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of a cell."""
        left, top = column * (self.side + GAP), HEADING + row * (self.side + GAP)
        return left, top, left + self.side, top + self.side


def find_layout(width: int, height: int, multiple: int = 1) -> GridLayout | None:
    """The layout of a grid of this size, whose cells' side is a multiple of `multiple`; None if it is not a grid."""
    for columns in (4, 3, 2):
        pitch, rest = divmod(width + GAP, columns)
        rows, rest_below = divmod(height - HEADING + GAP, pitch)
        side = pitch - GAP
        if not rest and not rest_below and rows > 0 and side > 0 and side % multiple == 0:
            return GridLayout(columns, rows, side)
    return None


def grid_text(headings: Sequence[str], domains: Sequence[str]) -> dict[str, str]:
    """The headings of the columns, and the names of the source and the target domain, for `Image.info`."""
    return {"headings": "\n".join(headings), "domains": "\n".join(domains)}


def png_text(grid: Image.Image) -> PngInfo:
    """The part of `Image.info` that `grid_text` wrote, to save with the grid."""
    text = PngInfo()
    for key in grid_text((), ()).keys() & grid.info.keys():
        text.add_text(key, str(grid.info[key]))
    return text
