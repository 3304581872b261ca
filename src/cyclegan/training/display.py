"""The progress of a run: a live display in a terminal or a notebook, plain lines in a log."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as ProgressBar
from rich.table import Table
from rich.text import Text

from cyclegan.methods.registry import method_spec
from cyclegan.runs.folder import read_run
from cyclegan.runs.metrics_files import score, selecting_metric
from cyclegan.system.machine import device_count, find_device, local_processes
from cyclegan.system.text import counted, format_duration, quote
from cyclegan.training.distributed import describe_devices
from cyclegan.training.monitor import Monitor, TrainStatus

if TYPE_CHECKING:
    from PIL import Image

PLAIN_SECONDS = 10.0  # between two lines in a log
STOPPING = "Stopping after this step, and saving. Press Ctrl-C again to quit at once without saving."


def displays(progress: bool) -> list[Monitor]:
    """The display for where this process runs, a notebook, a terminal or a log; none without `progress`."""
    if not progress:
        return []
    try:
        from IPython import get_ipython

        in_notebook = type(get_ipython()).__name__ == "ZMQInteractiveShell"
    except ImportError:
        in_notebook = False
    return [NotebookDisplay() if in_notebook else TerminalDisplay()]


class Display(Monitor):
    """What the displays have in common: time left, smoothed speed, and quality in words."""

    def __init__(self) -> None:
        self.progress_at_start: float | None = None
        self.started = time.monotonic()
        self.speed = 0.0  # images per second, smoothed
        self.quality, self.best = "", ""
        self.best_score = float("-inf")

    def on_start(self, run: Path, step: int) -> None:
        """Show the run folder and what it is trained on."""
        config = read_run(run)
        self.groups = method_spec(config.loss.method).term_groups
        self.on_message(f"Run folder: {run}" + (f", resuming at step {step}" if step else ""))
        self.max_steps, self.best_by = config.run.max_steps, config.run.best_by
        device = find_device(config.run.device).type
        used = local_processes(config.run.devices, config.run.device)
        count = describe_devices(used, device_count(config.run.device))
        if device == "cpu":
            count = counted(torch.get_num_threads(), "thread") + (f" in each of {used} processes" if used > 1 else "")
        half_on_cpu = device == "cpu" and config.run.precision == "16-mixed"
        precision = "bf16-mixed (16-mixed needs a GPU)" if half_on_cpu else config.run.precision
        workers = f", {counted(config.data.workers, 'loader worker')}" if config.data.workers else ""
        self.on_message(f"  Device: {device}, {count}; precision {precision}{workers}")
        self.on_message(f"  Images: {run / 'samples'}")
        self.on_message(f"  Report: {run / 'report.html'}")
        self.on_message(f"  Live in a browser: cyclegan watch {quote(run)}")
        if (run / "tensorboard").is_dir():
            self.on_message(f"  TensorBoard: tensorboard --logdir {quote(run / 'tensorboard')}")
        self.on_message("  The losses explained: https://cyclegan.github.io/cyclegan/reading-the-curves/")
        self.started = time.monotonic()

    def on_step(self, status: TrainStatus) -> None:
        """Start to count at the first step, since preparations take time too."""
        if self.progress_at_start is None:
            self.progress_at_start, self.started = status.progress, time.monotonic()

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        """Update the speed."""
        self.speed = 0.7 * (self.speed or status.images_per_second) + 0.3 * status.images_per_second

    def on_quality(self, status: TrainStatus, values: Mapping[str, float]) -> None:
        """Update the latest and the best quality."""
        metrics: dict[str, list[float]] = {name.rpartition("_")[0]: [] for name in values}
        for name, value in values.items():
            metrics[name.rpartition("_")[0]].append(value)
        rounded = {name: " / ".join(f"{float(f'{v:.3g}'):g}" for v in each) for name, each in metrics.items()}
        texts = {name: f"{name.upper()} {text}" for name, text in rounded.items()}
        if status.step == 0:
            directions = " / ".join(dict.fromkeys(name.rpartition("_")[2].replace("to", " → ") for name in values))
            self.on_message(f"Untranslated inputs, {directions}: {', '.join(texts.values())}")
            return
        self.quality = f"{', '.join(texts.values())} at step {status.step:,}"
        name = selecting_metric(self.best_by, values)
        if (reached := score(values, name)) > self.best_score:
            self.best_score, self.best = reached, f"{texts[name]} at step {status.step:,}"

    def position(self, status: TrainStatus) -> str:
        """Epoch and step, of the number of steps that the run will have by its progress so far."""
        position = f"epoch {status.epoch:,}  step {status.step:,}"
        if status.progress <= 0.02:
            return position
        if self.max_steps:
            return f"{position} of {self.max_steps:,}"
        steps = status.step / status.progress
        return f"{position} of about {round(steps, -2 if steps > 1e3 else -1):,.0f}"

    def times(self, status: TrainStatus) -> str:
        """Time elapsed and left."""
        done = status.progress - (self.progress_at_start or 0.0)
        if done <= 0:
            return "time left unknown"
        minutes = (time.monotonic() - self.started) / 60
        return f"{format_duration(status.minutes)}, {format_duration(minutes * (1 - status.progress) / done)} left"

    def figures(self, status: TrainStatus) -> str:
        """Speed, memory, learning rate and waiting."""
        return (
            f"{self.speed:.1f} images/s   {status.memory:.1f} GiB   learning rate {status.learning_rate:.2g}   "
            f"waiting for images {status.data_wait:.0%}"
        )


class TerminalDisplay(Display):
    """A live display in a terminal; plain lines when not in one."""

    def __init__(self, console: Console | None = None):
        super().__init__()
        self.console = console or Console(stderr=True)
        self.smoothed: dict[str, float] = {}
        self.live: Live | None = None
        self.last_line_at = 0.0
        self.notice = ""

    def on_start(self, run: Path, step: int) -> None:
        """Print where the run is, and open the live display."""
        super().on_start(run, step)
        if self.console.is_terminal:
            self.bar = ProgressBar(
                TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[times]}")
            )
            self.task = self.bar.add_task("starting", total=1.0, times="")
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
        super().on_step(status)
        if self.live is not None:
            position, times = self.position(status), self.times(status)
            self.bar.update(self.task, completed=status.progress, description=position, times=times)

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        """Update the losses; in a log, print at most one line per `PLAIN_SECONDS`."""
        super().on_losses(status, losses)
        for name, value in losses.items():
            self.smoothed[name] = 0.8 * self.smoothed.get(name, value) + 0.2 * value
        if self.live is not None:
            best = f"; best {self.best}" if self.best else ""
            quality = Text(f"Quality   {self.quality}{best}" if self.quality else "")
            notice = Text(self.notice, "bold")
            self.live.update(Group(self.bar, self._losses(), quality, Text(self.figures(status), "dim"), notice))
        elif self._line_due():
            smoothed = " ".join(f"{name} {value:.3f}" for name, value in self.smoothed.items())
            self.on_message(
                f"{self.position(status)} ({status.progress:.0%}) {smoothed} | {self.speed:.1f} images/s, "
                f"{status.memory:.1f} GiB, {self.times(status)}"
            )

    def on_quality(self, status: TrainStatus, values: Mapping[str, float]) -> None:
        """Show the metrics with the next losses; in a log, print them."""
        super().on_quality(status, values)
        if self.live is None and status.step:
            self.on_message(f"Quality: {self.quality}")

    def on_message(self, text: str) -> None:
        """Print above the display."""
        self.console.print(text, soft_wrap=self.live is None, highlight=False, markup=False)

    def on_stop_requested(self) -> None:
        """Show the notice below the display; plain writing is safe inside a signal handler, printing is not."""
        self.notice = STOPPING
        if self.live is None:
            os.write(2, f"\n{STOPPING}\n".encode())

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

    def _losses(self) -> Table:
        """A row for each group of losses, in words; A and B are the domains."""
        table = Table.grid(padding=(0, 2))
        grouped = {name for terms in self.groups.values() for name, _ in terms}
        others = tuple((name, name) for name in self.smoothed if name not in grouped)
        for heading, terms in (*self.groups.items(), ("Other", others)):
            cells = [
                Text.assemble((f"{label.format(a='A', b='B')} ", "dim"), f"{self.smoothed[name]:.3f}")
                for name, label in terms
                if name in self.smoothed
            ]
            if cells:
                table.add_row(heading, *cells)
        return table


class NotebookDisplay(Display):
    """A progress bar and the newest sample images, in the output of a notebook's cell."""

    def __init__(self) -> None:
        super().__init__()
        self.handles: dict[str, Any] = {}
        self.shown_at = 0.0

    def on_step(self, status: TrainStatus) -> None:
        """Update the bar, at most once a second."""
        super().on_step(status)
        if time.monotonic() - self.shown_at >= 1 or status.progress >= 1:
            self.shown_at = time.monotonic()
            bar = f'<progress max="1" value="{status.progress:.4f}" style="width: 20em"></progress>'
            self._show("progress", _html(f"{bar} {self.position(status)}, {self.times(status)}<br>{self.quality}"))

    def on_samples(self, status: TrainStatus, name: str, grid: "Image.Image") -> None:
        """Replace the sample images of this direction."""
        self._show(name, grid)

    def on_message(self, text: str) -> None:
        """Print."""
        print(text)

    def _show(self, name: str, value: Any) -> None:
        from IPython.display import display

        if name in self.handles:
            self.handles[name].update(value)
        else:
            self.handles[name] = display(value, display_id=True)  # type: ignore[no-untyped-call]


def _html(text: str) -> Any:
    from IPython.display import HTML

    return HTML(text)  # type: ignore[no-untyped-call]
