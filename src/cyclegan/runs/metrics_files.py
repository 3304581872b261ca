"""Reading ``metrics.csv`` and its siblings, truncating them on resume; quality as one number; messages of a run."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from cyclegan.system.atomic import write_text

HIGHER_IS_BETTER = {"psnr": True, "ssim": True, "swd": False}  # metrics of quality.csv
NOT_FINITE = "The loss is no longer finite"  # the start of the last message of a run that ended so


def read_metrics(path: Path) -> dict[str, list[float]]:
    """The columns of a metrics file by name, without damaged rows and rows that are not finite; empty if unreadable."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").replace("\0", "")
        names, *rows = csv.reader(io.StringIO(text))
    except (OSError, ValueError, csv.Error):  # ValueError: an empty file
        return {}
    valid: list[list[float]] = []
    for row in rows:
        with suppress(ValueError):
            values = list(map(float, row))
            if len(values) == len(names) and all(map(math.isfinite, values)):
                valid.append(values)
    return {name: [row[i] for row in valid] for i, name in enumerate(names)} if valid and "step" in names else {}


def drop_rows_after(path: Path, step: int) -> list[str]:
    """Delete the rows after `step`, which a resumed run writes again, and return the names of the columns."""
    head, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True) or [""]
    write_text(path, head + "".join(row for row in rows if row.endswith("\n") and int(row.split(",")[0]) <= step))
    return head.split()[0].split(",") if head.strip() else []


def selecting_metric(best_by: str, columns: Iterable[str]) -> str:
    """The metric that selects the best checkpoint, by the setting `best_by` and columns such as "ssim_AtoB"."""
    names = set(columns)
    paired = all(f"ssim_{name.rpartition('_')[2]}" in names for name in names if name.startswith("swd_"))
    return best_by if best_by != "auto" else "ssim" if paired else "swd"


def score(values: Mapping[str, float], metric: str) -> float:
    """The mean of a metric over the directions, of values such as "psnr_AtoB", negated if lower is better."""
    each = [value for name, value in values.items() if name.startswith(f"{metric}_")]
    return sum(each) / len(each) * (1 if HIGHER_IS_BETTER[metric] else -1)


def append_message(path: Path, step: int, text: str) -> None:
    """Append a message to the user and the step of it to ``messages.jsonl``."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "text": text}, ensure_ascii=False) + "\n")


def read_messages(path: Path) -> list[tuple[int, str]]:
    """Step and text of each message, the oldest first, without damaged lines; of equal texts, only the last."""
    found: dict[str, int] = {}
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, KeyError, TypeError):
                message = json.loads(line)
                found.pop(str(message["text"]), None)
                found[str(message["text"])] = int(message["step"])
    return [(step, text) for text, step in found.items()]
