"""The progress of a run: a live display in a terminal, plain lines in a log."""

import logging
import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table
from rich.text import Text

from cyclegan.training.monitor import Monitor, TrainStatus

PLAIN_SECONDS = 10.0  # between two lines in a log


def silence_banners() -> None:
    """Hide the informational messages that Lightning prints once per process; its warnings stay visible."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)


class TerminalDisplay(Monitor):
    """Epoch, step, each loss smoothed, images/s, time left and memory; plain lines when not a terminal."""

    def __init__(self, console: Console | None = None):
        self.console = console or Console(stderr=True)
        self.smoothed: dict[str, float] = {}
        self.live: Live | None = None
        self.progress_at_start: float | None = None
        self.last_line_at = 0.0

    def on_start(self, run: Path, step: int) -> None:
        """Print the run folder and where to look while it trains, and open the live display."""
        self.on_message(f"Run folder: {run}" + (f", resuming at step {step}" if step else ""))
        self.on_message(f"  Images: {run / 'samples'}; report: {run / 'report.html'}")
        self.on_message(f"  Live in a browser: cyclegan watch {shlex.quote(str(run))}")
        if (run / "tensorboard").is_dir():
            self.on_message(f"  TensorBoard: tensorboard --logdir {shlex.quote(str(run / 'tensorboard'))}")
        self.started = time.monotonic()
        if self.console.is_terminal:
            self.bar = ProgressBar(
                TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[left]}")
            )
            self.task = self.bar.add_task("starting", total=1.0, left="")
            self.live = Live(self.bar, console=self.console, refresh_per_second=4)
            self.live.start()

    def on_preload(self, done: int, total: int) -> None:
        """Update the bar; in a log, print at most one line per `PLAIN_SECONDS`."""
        if self.live is not None:
            self.bar.update(self.task, completed=done / total, description=f"decoding images  {done} of {total}")
        elif self._line_due():
            self.on_message(f"decoding images: {done} of {total}")

    def on_step(self, status: TrainStatus) -> None:
        """Update the bar."""
        if self.progress_at_start is None:
            self.progress_at_start, self.started = status.progress, time.monotonic()
        if self.live is not None:
            head = f"epoch {status.epoch}  step {status.step}"
            self.bar.update(self.task, completed=status.progress, description=head, left=self._left(status))

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        """Update the losses; in a log, print at most one line per `PLAIN_SECONDS`."""
        for name, value in losses.items():
            self.smoothed[name] = 0.8 * self.smoothed.get(name, value) + 0.2 * value
        if self.live is not None:
            self.live.update(Group(self.bar, self._losses(), self._figures(status)))
        elif self._line_due():
            smoothed = " ".join(f"{name} {value:.3f}" for name, value in self.smoothed.items())
            self.console.print(
                f"epoch {status.epoch} step {status.step} ({status.progress:.0%}) {smoothed} | "
                f"{status.images_per_second:.1f} images/s, {status.memory:.1f} GiB, {self._left(status)}",
                soft_wrap=True,
                highlight=False,
                markup=False,
            )

    def on_quality(self, status: TrainStatus, values: Mapping[str, float]) -> None:
        """Print the metrics above the display."""
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.on_message(f"{f'Quality at step {status.step}' if status.step else 'Untranslated inputs'}: {metrics}")

    def on_message(self, text: str) -> None:
        """Print above the display."""
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def on_end(self) -> None:
        """Close the display, leaving its last state on screen."""
        if self.live is not None:
            self.live.stop()

    def _line_due(self) -> bool:
        """Whether a log may get its next line; if so, the time of the last one is now."""
        due = time.monotonic() - self.last_line_at >= PLAIN_SECONDS
        if due:
            self.last_line_at = time.monotonic()
        return due

    def _left(self, status: TrainStatus) -> str:
        done = status.progress - (self.progress_at_start or 0.0)
        if done <= 0:
            return "time left unknown"
        seconds = (time.monotonic() - self.started) * (1 - status.progress) / done
        hours, minutes = divmod(round(seconds / 60), 60)
        if seconds < 90:
            return f"{seconds:.0f} s left"
        return f"{hours} h {minutes:02d} min left" if hours else f"{minutes} min left"

    def _losses(self) -> Table:
        table = Table.grid(padding=(0, 2))
        cells = [Text.assemble((f"{n} ", "dim"), f"{v:.3f}") for n, v in self.smoothed.items()]
        for start in range(0, len(cells), 4):
            table.add_row(*cells[start : start + 4])
        return table

    def _figures(self, status: TrainStatus) -> Text:
        return Text(
            f"{status.images_per_second:.1f} images/s   {status.memory:.1f} GiB   "
            f"learning rate {status.learning_rate:.2g}   waiting for images {status.data_wait:.0%}",
            style="dim",
        )
