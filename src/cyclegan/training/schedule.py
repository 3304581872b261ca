"""How far a training is, and the learning rate there."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cyclegan.config.schema import OptimizerConfig, RunConfig


def progress(step: int, epochs: float, minutes: float, *, optimizer: OptimizerConfig, run: RunConfig) -> float:
    """Share of the training that is done, 0 to 1: the largest among epochs, steps and minutes."""
    shares = [epochs / (optimizer.epochs + optimizer.epochs_decay)]
    if run.max_steps is not None:
        shares.append(step / run.max_steps)
    if run.max_minutes is not None:
        shares.append(minutes / run.max_minutes)
    return min(1.0, max(shares))


def schedule_epoch(share: float, epochs: float, *, config: OptimizerConfig, run: RunConfig) -> float:
    """The epoch, from 1, whose learning rate holds: the real one, or with a budget the one the budget stands for.

    A budget of steps or minutes is a whole training in little, its decay included, and moves through the
    schedule's epochs evenly.
    """
    if run.max_steps is None and run.max_minutes is None:
        return 1.0 + math.floor(epochs + 1e-9)  # an epoch's last step is an epoch but for rounding
    return 1.0 + share * (config.epochs + config.epochs_decay)


def rate_factor(epoch: float, config: OptimizerConfig) -> float:
    """The learning rate at an epoch, from 1, as a share of the initial one ("plateau" is decided elsewhere: 1).

    "linear": 1 - max(0, e - n)/(n_decay + 1), never zero in epochs 1 to n + n_decay [R, older versions];
    one epoch further on with ``schedule_steps="epoch_start"`` [R, newer versions].
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
    """Minutes of training over all sessions, speed and waits since the last row, minutes since the last save."""

    def __init__(self, minutes: float, step: int):
        self._minutes_before, self._logged_step, self._waited = minutes, step, 0.0
        self._start = self._logged_at = self._saved_at = time.monotonic()

    def minutes(self) -> float:
        """Minutes of training, earlier sessions included."""
        return self._minutes_before + self.session()

    def session(self) -> float:
        """Minutes of this session."""
        return (time.monotonic() - self._start) / 60

    def steps_per_second(self, step: int) -> float:
        """Speed since the last row of metrics."""
        return (step - self._logged_step) / max(time.monotonic() - self._logged_at, 1e-9)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around a wait for images."""
        start = time.monotonic()
        yield
        self._waited += time.monotonic() - start

    def data_wait(self) -> float:
        """Share of the time since the last row of metrics that passed in `waiting`."""
        return self._waited / max(time.monotonic() - self._logged_at, 1e-9)

    def logged(self, step: int) -> None:
        """A row of metrics was written."""
        self._logged_at, self._logged_step, self._waited = time.monotonic(), step, 0.0

    def since_save(self) -> float:
        """Minutes since the last checkpoint of this session."""
        return (time.monotonic() - self._saved_at) / 60

    def saved(self) -> None:
        """A checkpoint was written."""
        self._saved_at = time.monotonic()
