"""Loggers that write to the run folder: CSV files, sample grids and TensorBoard events."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cyclegan.runs.metrics_files import drop_rows_after
from cyclegan.training.monitor import Monitor, TrainStatus

if TYPE_CHECKING:
    from PIL import Image


class MetricsFile(Monitor):
    """``metrics.csv`` and ``quality.csv`` in the run folder. A resumed run drops the rows after its checkpoint."""

    def on_start(self, run: Path, step: int) -> None:
        """Keep the rows up to `step`, and the columns, which may be those of an earlier version."""
        self.paths = {name: run / f"{name}.csv" for name in ("metrics", "quality")}
        self.columns = {name: drop_rows_after(path, step) for name, path in self.paths.items() if path.exists()}

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        """Append a row."""
        self._append("metrics", {**vars(status), **losses})

    def on_quality(self, status: TrainStatus, values: Mapping[str, float]) -> None:
        """Append a row to the other file."""
        self._append("quality", {"step": status.step, "minutes": status.minutes, **values})

    def _append(self, name: str, row: Mapping[str, float]) -> None:
        path, text = self.paths[name], io.StringIO()
        columns = self.columns.get(name) or list(row)
        writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
        if not path.exists():
            writer.writeheader()
        writer.writerow(row)
        with path.open("a", encoding="utf-8") as file:
            file.write(text.getvalue())


class SampleFiles(Monitor):
    """``samples/step-NNNNNNN-NAME.png`` in the run folder."""

    def on_start(self, run: Path, step: int) -> None:
        """Remember where."""
        self.folder = run / "samples"

    def on_samples(self, status: TrainStatus, name: str, grid: "Image.Image") -> None:
        """Write the file."""
        self.folder.mkdir(exist_ok=True)
        grid.save(self.folder / f"step-{status.step:07d}-{name}.png")


class TensorBoard(Monitor):
    """Scalars and sample grids as TensorBoard events in ``tensorboard/``."""

    def on_start(self, run: Path, step: int) -> None:
        """Open the events file; events after `step` of an earlier session are hidden."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        """Write scalars."""
        for name, value in losses.items():
            self.writer.add_scalar(f"loss/{name}", value, status.step)
        for name in ("learning_rate", "images_per_second", "memory", "data_wait"):
            self.writer.add_scalar(f"run/{name}", getattr(status, name), status.step)

    def on_quality(self, status: TrainStatus, values: Mapping[str, float]) -> None:
        """Write scalars."""
        for name, value in values.items():
            self.writer.add_scalar(f"quality/{name}", value, status.step)

    def on_samples(self, status: TrainStatus, name: str, grid: "Image.Image") -> None:
        """Write the grid."""
        self.writer.add_image(f"samples/{name}", np.asarray(grid), status.step, dataformats="HWC")

    def on_end(self) -> None:
        """Flush."""
        self.writer.close()
