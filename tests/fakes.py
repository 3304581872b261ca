"""Monitors for tests: one that records every callback, one that interrupts the run."""

import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

from PIL import Image

from cyclegan.training.monitor import Monitor, TrainStatus


class RecordingMonitor(Monitor):
    """Keeps the arguments of every callback; `after_step` is called with the status after each step."""

    def __init__(self, after_step: Callable[[TrainStatus], object] = lambda status: None) -> None:
        self.after_step = after_step
        self.preloads: list[tuple[int, int]] = []
        self.steps: list[TrainStatus] = []
        self.losses: list[Mapping[str, float]] = []
        self.quality: list[Mapping[str, float]] = []
        self.samples: list[tuple[int, str]] = []
        self.messages: list[str] = []
        self.message_steps: list[int] = []  # the step after which each message came
        self.run: Path | None = None
        self.ended = False

    def on_start(self, run: Path, step: int) -> None:
        self.run = run

    def on_preload(self, done: int, total: int) -> None:
        self.preloads.append((done, total))

    def on_step(self, status: TrainStatus) -> None:
        self.steps.append(status)
        self.after_step(status)

    def on_losses(self, status: TrainStatus, losses: Mapping[str, float]) -> None:
        self.losses.append(losses)

    def on_quality(self, status: TrainStatus, values: Mapping[str, float]) -> None:
        self.quality.append(values)

    def on_samples(self, status: TrainStatus, name: str, grid: Image.Image) -> None:
        self.samples.append((status.step, name))

    def on_message(self, text: str) -> None:
        self.messages.append(text)
        self.message_steps.append(self.steps[-1].step if self.steps else 0)

    def on_end(self) -> None:
        self.ended = True


class StopAt(Monitor):
    """Sends SIGINT to this process after a step, as Ctrl-C does."""

    def __init__(self, step: int):
        self.step = step

    def on_step(self, status: TrainStatus) -> None:
        if status.step == self.step:
            os.kill(os.getpid(), signal.SIGINT)
