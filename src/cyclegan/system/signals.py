"""Ctrl-C and SIGTERM as a request that the loop reads between two steps."""

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAME_REQUEST = 1.0  # seconds within which a terminal or launcher may send its signal twice
HEARD = b"\nStopping after this step, and saving. A second Ctrl-C ends at once, without saving.\n"


class StopRequests:
    """While entered, the first signal is noted in `received`; a second one acts as if nobody listened.

    `say` tells the person at the terminal that the first was heard.
    """

    def __init__(self, say: bool = True) -> None:
        self.received = 0
        self.say = say
        self._first_at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequests":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.received:  # the same request may come once more
            time.sleep(max(0.0, self._first_at + SAME_REQUEST - time.monotonic()))
        self._listen_no_more()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.received:
            self.received, self._first_at = number, time.monotonic()
            if self.say:
                os.write(2, HEARD)  # a print might be interrupted by itself
        elif time.monotonic() - self._first_at > SAME_REQUEST:
            self._listen_no_more()
            signal.raise_signal(number)

    def _listen_no_more(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
