"""``losses.jsonl`` in the run folder: one JSON object for each row of ``metrics.csv``."""

import json
from collections.abc import Mapping
from pathlib import Path

from cyclegan import Monitor
from cyclegan.training.monitor import TrainStatus


class JsonLines(Monitor):
    """Appends to a file, which a resumed run continues."""

    def on_start(self, run: Path, step: int) -> None:
        """Open the file, without the rows after `step`, which a resumed run repeats."""
        path = run / "losses.jsonl"
        rows = path.read_text("utf-8").splitlines() if path.exists() else []
        path.write_text("".join(f"{row}\n" for row in rows if json.loads(row)["step"] <= step), "utf-8")
        self.file = path.open("a", encoding="utf-8")

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        """Append a row."""
        self.file.write(json.dumps({"step": status.step, **losses}) + "\n")

    def on_end(self) -> None:
        """Close the file."""
        self.file.close()
