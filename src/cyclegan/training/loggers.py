"""Loggers by name, and those that write to the run folder: CSV files, images, messages, the
report, TensorBoard events.

A logger is a `Monitor`. Another package adds one by an entry point in the group ``cyclegan.loggers``: its name is the
logger's name, and its value the class, called with the option of ``--logger NAME=OPTION`` if one is given.
"""

import csv
import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cyclegan.errors import UsageError
from cyclegan.runs.grid_layout import png_text
from cyclegan.runs.metrics_files import append_message, drop_rows_after
from cyclegan.system.plugins import load_plugin, plugin_names
from cyclegan.training.monitor import Monitor, TrainStatus
from cyclegan.training.online_loggers import Visdom, WeightsAndBiases

if TYPE_CHECKING:
    from PIL import Image

GROUP = "cyclegan.loggers"
REPORT_FRACTION = 0.01  # of the time may be spent on writing the report, if each takes as long as the longest so far
FIRST_REPORT_SECONDS = 2.0  # expected before the first report


class MetricsFile(Monitor):
    """``metrics.csv`` and ``quality.csv`` in the run folder. A resumed run drops the rows after its checkpoint."""

    def on_start(self, run: Path, step: int) -> None:
        """Drop the rows after `step`; the existing columns are kept."""
        self.paths = {name: run / f"{name}.csv" for name in ("metrics", "quality")}
        self.columns = {name: drop_rows_after(path, step) for name, path in self.paths.items() if path.exists()}

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        """Append a row to metrics.csv."""
        self._append("metrics", {**vars(status), **losses})

    def on_quality(self, status: TrainStatus, values: Mapping[str, float]) -> None:
        """Append a row to quality.csv."""
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
        """Set the folder."""
        self.folder = run / "samples"

    def on_samples(self, status: TrainStatus, name: str, grid: "Image.Image") -> None:
        """Write the file."""
        self.folder.mkdir(exist_ok=True)
        grid.save(self.folder / f"step-{status.step:07d}-{name}.png", pnginfo=png_text(grid))


class MessagesFile(Monitor):
    """``messages.jsonl`` in the run folder: the messages to the user, such as the warnings of the diagnostics."""

    def on_start(self, run: Path, step: int) -> None:
        """Set the file."""
        self.path, self.step = run / "messages.jsonl", step

    def on_step(self, status: TrainStatus) -> None:
        """Note the step."""
        self.step = status.step

    def on_message(self, text: str) -> None:
        """Append a line."""
        append_message(self.path, self.step, text)


class ReportFile(Monitor):
    """``report.html`` in the run folder, written again after a measurement of quality.

    A page that would take more than `REPORT_FRACTION` of the session's time, with those before it, waits.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock, self.due = clock, False
        self.spent, self.cost = 0.0, FIRST_REPORT_SECONDS

    def on_start(self, run: Path, step: int) -> None:
        """Set the folder."""
        self.run, self.started = run, self.clock()

    def on_quality(self, status: TrainStatus, values: Mapping[str, float]) -> None:
        """Note that the page is outdated; its writing follows the messages of the diagnostics."""
        self.due = True

    def on_step(self, status: TrainStatus) -> None:
        """Write the page if it is outdated and there is time for it."""
        now = self.clock()
        if self.due and self.spent + self.cost <= REPORT_FRACTION * (now - self.started):
            from cyclegan.evaluation.report.report import write_report  # imports matplotlib and jinja2

            self.due = False
            write_report(self.run, live=True)
            took = self.clock() - now
            self.spent, self.cost = self.spent + took, max(self.cost, took)


class TensorBoard(Monitor):
    """Scalars and sample grids as TensorBoard events in ``tensorboard/``."""

    def on_start(self, run: Path, step: int) -> None:
        """Open the events file and hide the events of earlier sessions after `step`."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(run / "tensorboard"), purge_step=step + 1)

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        """Write losses and speed."""
        for name, value in losses.items():
            self.writer.add_scalar(f"loss/{name}", value, status.step)
        for name in ("learning_rate", "images_per_second", "memory", "data_wait"):
            self.writer.add_scalar(f"run/{name}", getattr(status, name), status.step)

    def on_quality(self, status: TrainStatus, values: Mapping[str, float]) -> None:
        """Write metrics."""
        for name, value in values.items():
            self.writer.add_scalar(f"quality/{name}", value, status.step)

    def on_samples(self, status: TrainStatus, name: str, grid: "Image.Image") -> None:
        """Write the grid."""
        self.writer.add_image(f"samples/{name}", np.asarray(grid), status.step, dataformats="HWC")

    def on_end(self) -> None:
        """Write what is buffered."""
        self.writer.close()


LOGGERS: dict[str, Callable[..., Monitor]] = {
    "tensorboard": TensorBoard,
    "visdom": Visdom,
    "wandb": WeightsAndBiases,
}


def build_loggers(chosen: Sequence[str]) -> list[Monitor]:
    """The loggers of every run, and those of ``--logger``: "NAME" or "NAME=OPTION", such as "wandb=my-project".

    Raises `UsageError` for an unknown name, a missing package, or an option that the logger does not take.
    """
    loggers: list[Monitor] = [MetricsFile(), SampleFiles(), MessagesFile(), ReportFile()]
    for text in chosen:
        name, _, option = text.partition("=")
        logger = LOGGERS[name] if name in LOGGERS else load_plugin(GROUP, name)
        if logger is None:
            names = ", ".join([*LOGGERS, *plugin_names(GROUP)])
            raise UsageError(f"--logger {name}: unknown logger; choose from {names}.")
        try:
            loggers.append(logger(option) if option else logger())
        except ModuleNotFoundError as error:
            extra = f'pip install "cyclegan[{name}]"' if name in LOGGERS else f"pip install {error.name}"
            raise UsageError(f"--logger {name} needs the package {error.name}: {extra}.") from None
        except (TypeError, ValueError, ImportError, AttributeError) as error:
            raise UsageError(f"--logger {text}: {error}.") from None
    return loggers
