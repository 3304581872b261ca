"""Reading ``metrics.csv`` and its siblings, truncating them on resume, and the messages of a run."""

import csv
import io
import json
import math
from contextlib import suppress
from pathlib import Path

from cyclegan.system.atomic import write_text


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
