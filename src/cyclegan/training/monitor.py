"""The callback interface of training: subclass `Monitor` to log a run, or to show it somewhere."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class TrainStatus:
    """Progress and speed of a run after a step; these are the first columns of ``metrics.csv``."""

    step: int
    epoch: int  # from 1
    progress: float  # completed fraction of the run's budget, 0 to 1
    minutes: float  # of training, earlier sessions included
    images_per_second: float  # of both domains and all processes
    memory: float  # peak memory in GiB: of the GPU, or of the process when there is no GPU
    learning_rate: float
    data_wait: float = 0.0  # fraction of the time since the last row spent waiting for images, 0 to 1


class Monitor:
    """Base class for callbacks of a run: ``train(config, monitors=[MyMonitor()])``. Override what you need.

    Callbacks run on the first process only, and not for every process of a distributed run. A monitor that raises an
    exception is reported once and removed; training continues without it.
    """

    def on_start(self, run: Path, step: int) -> None:
        """Called once before the first step, with the run folder; `step` is above 0 for a resumed run."""

    def on_preload(self, done: int, total: int) -> None:
        """Called for each image that ``--preload`` decodes before the first step."""

    def on_step(self, status: TrainStatus) -> None:
        """Called after each step."""

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        """Called every ``log_every`` steps with the mean of each loss term since the last call."""

    def on_quality(self, status: TrainStatus, values: Mapping[str, float]) -> None:
        """Called every ``measure_every`` steps with the metrics on a few test images, such as "psnr_AtoB".

        At step 0, with those of the untranslated inputs.
        """

    def on_samples(self, status: TrainStatus, name: str, grid: "Image.Image") -> None:
        """Called every ``sample_every`` steps with a grid of sample translations for each direction, its `name`."""

    def on_message(self, text: str) -> None:
        """Called with warnings and notes for the user, each one sentence."""

    def on_stop_requested(self) -> None:
        """Called inside the signal handler of Ctrl-C or SIGTERM; training stops after the current step.

        Locks, and so printing, are not safe there: set a flag.
        """

    def on_end(self) -> None:
        """Called when training ends, after an error too."""


class MonitorList:
    """The monitors of a run. One that fails is reported once and removed, and training continues."""

    def __init__(self, monitors: Iterable[Monitor]):
        self._monitors = list(monitors)
        self._sent: set[str] = set()

    def call(self, callback: str, *args: Any) -> None:
        """Call this method of every monitor, such as ``call("on_step", status)``."""
        for monitor in tuple(self._monitors):
            try:
                getattr(monitor, callback)(*args)
            except Exception as error:
                self._monitors.remove(monitor)
                self.message(f"{type(monitor).__name__} failed ({error}) and was removed; training continues.")

    def message(self, text: str, once: str = "") -> None:
        """Show a sentence to the user; of several with the same key `once`, only the first."""
        if not once or once not in self._sent:
            self._sent.add(once)
            self.call("on_message", text)
