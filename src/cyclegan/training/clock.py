"""How long a training takes, and what it waits for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


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
