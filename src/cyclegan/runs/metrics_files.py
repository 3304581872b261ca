"""metrics.csv and its siblings: reading, and dropping rows that a resumed run writes again."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from cyclegan.system.atomic import write_text


def drop_rows_after(path: Path, step: int) -> list[str]:
    """Drop the rows after `step`, and return the columns."""
    head, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    whole = [row for row in rows if row.endswith("\n") and int(row.split(",")[0]) <= step]
    write_text(path, head + "".join(whole))
    return head.split()[0].split(",") if head.strip() else []


def read_metrics(path: Path) -> dict[str, list[float]]:
    """The columns of a metrics.csv; rows that are damaged or not finite are left out. Empty when there is none."""
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8", errors="replace").replace("\0", ""))))
    except (OSError, csv.Error):
        return {}
    if not rows or "step" not in rows[0]:
        return {}
    good = [values for row in rows[1:] if (values := _numbers(row, len(rows[0]))) is not None]
    return {name: [row[i] for row in good] for i, name in enumerate(rows[0])} if good else {}


def _numbers(row: Sequence[str], width: int) -> list[float] | None:
    try:
        values = [float(cell) for cell in row]
    except ValueError:
        return None
    return values if len(values) == width and all(map(math.isfinite, values)) else None
