"""Progress of a run, its learning rate, and its clock."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cyclegan.config.schema import OptimizerConfig, RunConfig


def budget_progress(step: int, epochs: float, minutes: float, *, optimizer: OptimizerConfig, run: RunConfig) -> float:
    """Completed fraction of a run, 0 to 1: the largest of the fractions of its epochs, steps and minutes."""
    fractions = [epochs / (optimizer.epochs + optimizer.epochs_decay)]
    if run.max_steps is not None:
        fractions.append(step / run.max_steps)
    if run.max_minutes is not None:
        fractions.append(minutes / run.max_minutes)
    return min(1.0, max(fractions))


def schedule_epoch(progress: float, epochs: float, *, optimizer: OptimizerConfig, run: RunConfig) -> float:
    """The epoch, from 1, that the learning rate is computed for.

    Without a budget of steps or minutes it is the current epoch. With one, the whole schedule with its decay is fitted
    into the budget, so it is proportional to `progress`.
    """
    if run.max_steps is None and run.max_minutes is None:
        return 1.0 + math.floor(epochs + 1e-9)  # steps may add up to slightly less than an epoch
    return 1.0 + progress * (optimizer.epochs + optimizer.epochs_decay)


def scheduled_factor(progress: float, epochs: float, *, optimizer: OptimizerConfig, run: RunConfig) -> float:
    """Factor of the initial learning rate after this fraction of the run: warmup times decay.

    `warmup` starts at a hundredth. With `decay_from`, "linear" falls from that fraction of the run on.
    """
    warmup = min(1.0, max(0.01, progress / optimizer.warmup)) if optimizer.warmup else 1.0
    if optimizer.schedule == "linear" and optimizer.decay_from is not None:
        return warmup * min(1.0, (1 - progress) / (1 - optimizer.decay_from))
    return warmup * lr_factor(schedule_epoch(progress, epochs, optimizer=optimizer, run=run), optimizer)


def lr_factor(epoch: float, config: OptimizerConfig) -> float:
    """Factor of the initial learning rate in an epoch, from 1; always 1 for "constant" and "plateau".

    "linear": 1 - max(0, e - n)/(n_decay + 1), never zero in epochs 1 to n + n_decay [R, older versions];
    one epoch ahead with ``schedule_steps="epoch_start"`` [R, newer versions].
    """
    if config.schedule_steps == "epoch_start":
        epoch += 1
    if config.schedule == "linear":
        return max(0.0, 1.0 - max(0.0, epoch - config.epochs) / (config.epochs_decay + 1))
    if config.schedule == "step":
        return 0.1 ** ((epoch - 1) // config.step_epochs)
    if config.schedule == "cosine":
        return (1 + math.cos(math.pi * (epoch - 1) / max(1, config.epochs))) / 2
    return 1.0


class Clock:
    """Training time over all sessions, and speed and time spent waiting for data since the last row of metrics."""

    def __init__(self, minutes: float, step: int):
        self._minutes_before, self._logged_step, self._waited = minutes, step, 0.0
        self._start = self._logged_at = self._saved_at = time.monotonic()

    def minutes(self) -> float:
        """Minutes of training, earlier sessions included."""
        return self._minutes_before + self.session_minutes()

    def session_minutes(self) -> float:
        """Minutes since this session started."""
        return (time.monotonic() - self._start) / 60

    def minutes_since_save(self) -> float:
        """Minutes since the last checkpoint of this session."""
        return (time.monotonic() - self._saved_at) / 60

    def steps_per_second(self, step: int) -> float:
        """Speed since the last row of metrics."""
        return (step - self._logged_step) / max(time.monotonic() - self._logged_at, 1e-9)

    def data_wait(self) -> float:
        """Fraction of the time since the last row of metrics that was spent in `waiting`, 0 to 1."""
        return self._waited / max(time.monotonic() - self._logged_at, 1e-9)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Context that counts as waiting for data."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """Context for work between steps, such as measuring, which does not count in the speed."""
        start = time.monotonic()
        yield
        self._logged_at += time.monotonic() - start

    def mark_logged(self, step: int) -> None:
        """A row of metrics was written."""
        self._logged_at, self._logged_step, self._waited = time.monotonic(), step, 0.0

    def mark_saved(self) -> None:
        """A checkpoint was written."""
        self._saved_at = time.monotonic()
