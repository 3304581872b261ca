"""Watching a training. Monitors are told what happens; none of them can stop it."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cyclegan.runs.metrics_files import drop_rows_after

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Progress:
    """How far a training is."""

    step: int
    epoch: int  # from 1
    share: float  # of the whole training, 0 to 1
    minutes: float  # of training, earlier sessions included
    images_per_second: float  # of both domains and all processes
    memory: float  # GiB: peak of the GPU, or of the process where there is none
    learning_rate: float
    data_wait: float = 0.0  # share of the time since the last row that the loop waited for images, 0 to 1


class Monitor:
    """What a monitor may be told; each does what it cares for. Terms are means since the last call."""

    def start(self, run: Path, step: int) -> None:
        """The training begins, or goes on at `step`."""

    def preloaded(self, done: int, total: int) -> None:
        """So many of all images are decoded, ahead of the first step."""

    def tick(self, progress: Progress) -> None:
        """A step is done."""

    def terms(self, progress: Progress, terms: Mapping[str, float]) -> None:
        """`log_every` steps are done."""

    def quality(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Translations of a few test images were measured: "psnr_AtoB" and so on."""

    def picture(self, progress: Progress, name: str, picture: "Image.Image") -> None:
        """A sample grid was made."""

    def message(self, text: str) -> None:
        """Something a person should know, in one sentence."""

    def close(self) -> None:
        """The training has ended, well or not."""


class Monitors(Monitor):
    """Several monitors as one. One that fails is named once, left out from then on, and training goes on."""

    def __init__(self, monitors: Iterable[Monitor]):
        self._monitors = list(monitors)

    def _tell(self, what: str, *args: Any) -> None:
        for monitor in tuple(self._monitors):
            try:
                getattr(monitor, what)(*args)
            except Exception as error:
                self._monitors.remove(monitor)
                self.message(f"{type(monitor).__name__} failed ({error}) and is left out; training goes on.")

    def start(self, run: Path, step: int) -> None:
        """Tell all."""
        self._tell("start", run, step)

    def preloaded(self, done: int, total: int) -> None:
        """Tell all."""
        self._tell("preloaded", done, total)

    def tick(self, progress: Progress) -> None:
        """Tell all."""
        self._tell("tick", progress)

    def terms(self, progress: Progress, terms: Mapping[str, float]) -> None:
        """Tell all."""
        self._tell("terms", progress, terms)

    def quality(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Tell all."""
        self._tell("quality", progress, values)

    def picture(self, progress: Progress, name: str, picture: "Image.Image") -> None:
        """Tell all."""
        self._tell("picture", progress, name, picture)

    def message(self, text: str) -> None:
        """Tell all."""
        self._tell("message", text)

    def close(self) -> None:
        """Tell all."""
        self._tell("close")


class MetricsFile(Monitor):
    """``metrics.csv`` and ``quality.csv`` in the run folder. A resumed run drops the rows after its checkpoint."""

    def start(self, run: Path, step: int) -> None:
        """Keep the rows up to `step`, and the columns, which may be those of an earlier version."""
        self.paths = {name: run / f"{name}.csv" for name in ("metrics", "quality")}
        self.columns = {name: drop_rows_after(path, step) for name, path in self.paths.items() if path.exists()}

    def terms(self, progress: Progress, terms: Mapping[str, float]) -> None:
        """Append a row."""
        self._append("metrics", {**vars(progress), **terms})

    def quality(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Append a row to the other file."""
        self._append("quality", {"step": progress.step, "minutes": progress.minutes, **values})

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

    def start(self, run: Path, step: int) -> None:
        """Remember where."""
        self.folder = run / "samples"

    def picture(self, progress: Progress, name: str, picture: "Image.Image") -> None:
        """Write the file."""
        self.folder.mkdir(exist_ok=True)
        picture.save(self.folder / f"step-{progress.step:07d}-{name}.png")


class TensorBoard(Monitor):
    """Scalars and sample grids as TensorBoard events in ``tensorboard/``."""

    def start(self, run: Path, step: int) -> None:
        """Open the events file; events after `step` of an earlier session are hidden."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def terms(self, progress: Progress, terms: Mapping[str, float]) -> None:
        """Write scalars."""
        for name, value in terms.items():
            self.writer.add_scalar(f"loss/{name}", value, progress.step)
        for name in ("learning_rate", "images_per_second", "memory", "data_wait"):
            self.writer.add_scalar(f"run/{name}", getattr(progress, name), progress.step)

    def quality(self, progress: Progress, values: Mapping[str, float]) -> None:
        """Write scalars."""
        for name, value in values.items():
            self.writer.add_scalar(f"quality/{name}", value, progress.step)

    def picture(self, progress: Progress, name: str, picture: "Image.Image") -> None:
        """Write the grid."""
        self.writer.add_image(f"samples/{name}", np.asarray(picture), progress.step, dataformats="HWC")

    def close(self) -> None:
        """Flush."""
        self.writer.close()
