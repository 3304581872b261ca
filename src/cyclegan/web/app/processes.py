"""Training runs as processes of their own, which outlive the app: started, stopped and resumed."""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from cyclegan.config.presets import PresetName
from cyclegan.errors import CycleGANError
from cyclegan.runs.folder import being_trained, is_training, next_run_folder, stop_run
from cyclegan.training.setup import configure

START_SECONDS = 120.0  # for a process to import torch and to lock its run


class Processes:
    """The processes that this app has started, by run folder."""

    def __init__(self) -> None:
        self._started: dict[Path, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}

    def start(self, preset: PresetName, settings: Mapping[str, Any]) -> Path:
        """Start `cyclegan train` with these settings, and return its run folder as soon as it trains.

        Raises `UsageError` and `CycleGANError` with the sentence of the command.
        """
        run = next_run_folder(configure(preset, compare_domains=False, **settings))
        options = {**settings, "runs": run.parent, "name": run.name}
        words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items() if key != "data"]
        data = [str(settings["data"])] if "data" in settings else []
        self._launch(run, "train", *data, f"--preset={preset}", *words)
        return run

    def resume(self, run: Path, minutes: float | None = None) -> None:
        """Start `cyclegan resume`, with a new budget in minutes if one is given. Raises as `start`."""
        if is_training(run):
            raise being_trained(run)
        self._launch(run, "resume", str(run), *([f"--max-minutes={minutes:g}"] if minutes else []))

    def stop(self, run: Path) -> None:
        """Ask a run's process, whoever started it, to save and stop. Raises `UsageError` when nothing trains it."""
        stop_run(run)

    def problem(self, run: Path) -> str:
        """How a process failed, by its last line; empty while it trains and when it ended well."""
        process, log = self._started.get(run.resolve(), (None, None))
        if process is None or process.poll() in (None, 0, 130, 143) or log is None:
            return ""
        if process.returncode < 0:
            name = signal.Signals(-process.returncode).name
            return f"The training process was killed by {name}, perhaps for lack of memory; Resume continues the run."
        log.seek(0)
        lines = log.read().decode(errors="replace").strip().splitlines() or ["The training process failed silently."]
        return lines[-1].removeprefix("cyclegan: ")

    def _launch(self, run: Path, *words: str) -> None:
        log = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process's entry)
        process = subprocess.Popen(
            [sys.executable, "-m", "cyclegan", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the app's terminal is not meant for it
        )
        self._started[run.resolve()] = process, log
        end = time.monotonic() + START_SECONDS
        while not is_training(run):
            if process.poll() is not None:
                if problem := self.problem(run):
                    raise CycleGANError(problem)
                return  # complete already
            if time.monotonic() > end:
                process.kill()
                raise CycleGANError(f"The training process of {run} did not start within {START_SECONDS:.0f} seconds.")
            time.sleep(0.2)
