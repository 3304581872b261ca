"""Signals and failures as they reach real trainings: whole groups of processes, repeated, and of one process alone."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from conftest import TINY, flags, start
from cyclegan.runs import checkpoint
from cyclegan.system import signals as stopping
from cyclegan.system.signals import StopRequests


def test_a_repeat_within_a_second_is_the_same_request(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stopping, "SAME_REQUEST", 0.3)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt), StopRequests() as stop:
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
            assert stop.received == signal.SIGINT
            assert capfd.readouterr().err.count("Press Ctrl-C again to quit at once without saving.") == 1
            time.sleep(0.4)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_repeat_is_awaited_before_nobody_listens_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "SAME_REQUEST", 0.3)
    before, start = signal.getsignal(signal.SIGTERM), time.monotonic()
    with StopRequests(announce=False) as stop:
        signal.raise_signal(signal.SIGTERM)
    assert stop.received == signal.SIGTERM
    assert time.monotonic() - start >= 0.3
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
    rows, end = tmp_path / "group" / "metrics.csv", time.monotonic() + 120
    while not (rows.exists() and rows.read_text().count("\n") > 2):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "Traceback" not in err
    assert err.count("Stopping after this step") == 1
    assert err.count("01.png is not an image") == 1
    assert err.count("1 unreadable image was left out.") == 1
    assert err.count(f"cyclegan resume {tmp_path / 'group'}") == 1
    assert checkpoint.latest_checkpoint(tmp_path / "group") is not None
    while is_alive(process.pid):
        assert time.monotonic() < end, "processes are left behind"
        time.sleep(0.1)


@pytest.mark.processes
def test_what_fails_on_one_process_alone_is_said_by_it_and_ends_all(damaged: Path, tmp_path: Path) -> None:
    settings = TINY | {"devices": 2, "serial_batches": True, "strict": True, "runs": tmp_path, "name": "strict"}
    process = start("train", damaged, "--preset", "paper", *flags(**settings), start_new_session=True)
    _, err = process.communicate(timeout=120)
    assert process.returncode not in (0, None)
    assert "Traceback" not in err
    assert err.count("01.png is not an image") == 1
