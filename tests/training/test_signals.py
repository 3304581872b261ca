"""Signals and failures as they reach real runs: whole groups of processes, repeated, and of one process alone."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from conftest import TINY, flags, has_steps, start, wait_until
from cyclegan.runs import checkpoint
from cyclegan.system import signals
from cyclegan.system.signals import StopRequests


class FakeClock:
    """A clock that only sleeping and `now` move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    monkeypatch.setattr(signals, "SAME_REQUEST", 1.0)
    return FakeClock()


def test_a_second_signal_within_a_second_is_the_same_request(clock: FakeClock) -> None:
    requests: list[float] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            StopRequests(lambda: requests.append(clock.now), clock=clock, sleep=clock.sleep) as stop,
        ):
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
            assert stop.received == signal.SIGINT
            assert len(requests) == 1
            clock.now += 1.1
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_are_restored_only_after_the_second_in_which_a_signal_may_repeat(clock: FakeClock) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopRequests(clock=clock, sleep=clock.sleep) as stop:
        signal.raise_signal(signal.SIGTERM)
    assert stop.received == signal.SIGTERM
    assert clock.now == 101.0
    assert signal.getsignal(signal.SIGTERM) == before


def is_alive(session: int) -> bool:
    """Whether a process of the session runs; those that have ended and wait to be asked about do not."""
    listed = subprocess.run(["ps", "-o", "stat=", "-s", str(session)], capture_output=True, text=True).stdout
    return any(not state.startswith("Z") for state in listed.split("\n") if state)


@pytest.fixture
def damaged(data: Path, tmp_path: Path) -> Path:
    """The data with an image that only the second of two processes reads, in fixed order."""
    copy = tmp_path / "damaged"
    shutil.copytree(data, copy)
    (copy / "trainA" / "01.png").write_text("text")
    return copy


@pytest.mark.processes
@pytest.mark.skipif(os.name != "posix", reason="groups of processes and their signals are POSIX")
def test_sigterm_to_the_whole_group_saves_and_leaves_nothing_behind(damaged: Path, tmp_path: Path) -> None:
    settings = TINY | {"workers": 2, "devices": 2, "serial_batches": True, "runs": tmp_path, "name": "group"}
    process = start("train", damaged, "--preset", "paper", *flags(**settings), start_new_session=True)
    wait_until(lambda: has_steps(tmp_path / "group", 2), process)
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "Traceback" not in err
    assert err.count("Stopping after this step") == 1
    assert err.count("01.png is not an image") == 1
    assert err.count("1 unreadable image was left out.") == 1
    assert err.count(f"cyclegan resume {tmp_path / 'group'}") == 1
    assert checkpoint.latest_checkpoint(tmp_path / "group") is not None
    wait_until(lambda: not is_alive(process.pid))


@pytest.mark.processes
def test_an_error_on_one_process_alone_is_printed_once_and_ends_all(damaged: Path, tmp_path: Path) -> None:
    settings = TINY | {"devices": 2, "serial_batches": True, "strict": True, "runs": tmp_path, "name": "strict"}
    process = start("train", damaged, "--preset", "paper", *flags(**settings), start_new_session=True)
    _, err = process.communicate(timeout=120)
    assert process.returncode not in (0, None)
    assert "Traceback" not in err
    assert err.count("01.png is not an image") == 1
