"""Ctrl-C and SIGTERM as a stop request that a loop checks between two steps."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Ctrl-C, a request to end, and Ctrl-Break, which only Windows has.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))
SAME_REQUEST = 1.0  # seconds within which a terminal or launcher may deliver its signal twice


@contextmanager
def kept_child_handler() -> Iterator[None]:
    """Keep the handler of SIGCHLD over the block: PyTorch's loader installs one that raises within a training step."""
    kept = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    yield
    if kept is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, kept)


class StopRequests:
    """Context manager that records the first signal in `received`; a second signal takes its default action.

    The first signal calls `on_request` inside the signal handler. Signals are handled in the main thread only.
    """

    def __init__(
        self,
        on_request: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self.received = 0
        self._on_request = on_request
        self._first_at = 0.0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequests":
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        if self.received:  # the same request may arrive once more
            self._sleep(max(0.0, self._first_at + SAME_REQUEST - self._clock()))
        self._restore()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self.received:
            self.received, self._first_at = number, self._clock()
            self._on_request()
        elif self._clock() - self._first_at > SAME_REQUEST:
            self._restore()
            signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
