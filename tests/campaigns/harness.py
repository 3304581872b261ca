"""The command in forked processes, with a fault at a chosen moment, and what must hold afterwards."""

import hashlib
import io
import os
import random
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from conftest import TINY, draw_images, flags

Fault = Callable[[Path], None]  # installed in the forked process; the folder is the one that is watched
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.chmod", "os.truncate", "shutil.rmtree"}
HANG = 60.0  # seconds of computing after which a command counts as hanging, or ten times as many of waiting
STEPS = 6


@dataclass
class Outcome:
    """How an attempt ended. `code` is that of a shell, 128 + `signal` after a signal."""

    code: int
    signal: int
    text: str
    seconds: float
    hangs: bool

    @property
    def problem(self) -> str:
        """What no fault may cause: a hang, a signal that nobody sent, a traceback, or a failure without a word."""
        if self.signal:
            return "hang" if self.hangs else f"signal {self.signal}"
        if "Traceback" in self.text:
            return f"traceback: {self.text.splitlines()[-1]}"
        return "" if self.code == 0 or "cyclegan: " in self.text else f"exit {self.code} without a sentence"


@dataclass
class Tally:
    """What a campaign did and found."""

    counts: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    not_run: str = ""

    def add(self, name: str, number: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + number

    def expect(self, true: object, failure: str) -> None:
        if not true:
            self.failures.append(failure)


def start(work: Callable[[], Any], log: Path) -> int:
    """Run `work` in a forked process with its output in `log`, and return its id."""
    sys.stdout.flush()
    sys.stderr.flush()
    if child := os.fork():
        return child
    code = 70
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        with suppress(BaseException):
            traceback.print_exc()
    with suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def finish(child: int, log: Path, seconds: float | None = None) -> Outcome:
    """Wait for a forked process, and kill it after some seconds, or when it hangs."""
    began, hangs, done = time.monotonic(), False, 0
    while not done:
        done, status = os.waitpid(child, os.WNOHANG)
        passed = time.monotonic() - began
        if not done and seconds is None and passed > HANG:
            hangs = passed > 10 * HANG or sum(psutil.Process(child).cpu_times()[:2]) > HANG
        if not done and (hangs or (seconds is not None and passed > seconds)):
            os.kill(child, signal.SIGKILL)
            done, status = os.waitpid(child, 0)
        elif not done:
            time.sleep(0.01)
    killed = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    text = log.read_text(errors="replace") if log.exists() else ""
    return Outcome(128 + killed if killed else os.WEXITSTATUS(status), killed, text, passed, hangs)


def run_words(words: list[object], folder: Path, fault: Fault | None = None) -> Callable[[], None]:
    """What a forked process does for a command line of `cyclegan`, with a fault that watches `folder`."""

    def work() -> None:
        from cyclegan.cli import train
        from cyclegan.cli.main import main

        train.print_report = lambda run: None  # three quarters of a run's time; `report` is disturbed by itself
        sys.argv = ["cyclegan", *map(str, words)]
        if fault is not None:
            fault(folder)
        main()

    return work


def attempt(words: list[object], folder: Path, fault: Fault | None = None, seconds: float | None = None) -> Outcome:
    """Run a command line, with a fault that watches `folder`, and kill it after some seconds."""
    log = folder.parent / f"{folder.name}.log"
    log.unlink(missing_ok=True)
    return finish(start(run_words(words, folder, fault), log), log, seconds)


def at_write(number: int, action: Callable[[], None]) -> Fault:
    """Do something before the n-th write boundary below the folder: an open for writing, a rename, a deletion ..."""

    def install(folder: Path) -> None:
        left, inside = number, str(folder)

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            writes = event in WRITES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
            if writes and any(isinstance(a, str | Path) and inside in str(a) for a in arguments[:2]):
                left -= 1
                if left == 0:
                    action()

        sys.addaudithook(hook)

    return install


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number: int) -> Callable[[], None]:
    """Make the call fail with this error number."""

    def action() -> None:
        raise OSError(number, os.strerror(number))

    return action


def count_writes(words: list[object], folder: Path) -> tuple[int, Outcome]:
    """The write boundaries of a command that is not disturbed."""
    seen = folder.parent / f"{folder.name}.count"
    seen.unlink(missing_ok=True)
    descriptor = os.open(seen, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def install(inside: Path) -> None:
        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            writes = event in WRITES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
            if writes and any(isinstance(a, str | Path) and str(inside) in str(a) for a in arguments[:2]):
                os.write(descriptor, b".")

        sys.addaudithook(hook)

    outcome = attempt(words, folder, install)
    os.close(descriptor)
    return seen.stat().st_size, outcome


def contents(folder: Path) -> dict[str, str]:
    """Digests of all files below a folder; images, tensors and texts alike."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def leftovers(folder: Path) -> list[str]:
    """Hidden files that should not outlive a completed command."""
    return [str(path) for path in folder.rglob(".*") if path.name not in (".lock", ".process")]


def small_data(folder: Path) -> Path:
    """Four images of each domain, and two test images."""
    for split, count in (("train", 4), ("test", 2)):
        draw_images(folder / f"{split}A", count, 0, 20)
        draw_images(folder / f"{split}B", count, 2, 20)
    return folder


def train_words(data: Path, runs: Path, **settings: Any) -> list[object]:
    """A run of a few steps at 16 pixels that saves at every step and measures once."""
    tiny = TINY | {"load_size": 18, "crop_size": 16, "pool_size": 2, "runs": runs, "name": "run", "max_steps": STEPS}
    tiny |= {"save_minutes": 1e-9, "discriminator": "pixel", "sample_every": 3, "schedule": "constant"}
    return ["train", data, "--preset", "paper", *flags(**(tiny | settings))]


@dataclass
class Command:
    """A command to disturb: its words for an output folder."""

    name: str
    words: Callable[[Path], list[object]]


def run_here(words: list[object]) -> None:
    """Run a command line in this process, which thereby imports and caches what every forked one will need."""
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(output):
        try:
            run_words(words, Path())()
        except SystemExit as end:
            assert not end.code, output.getvalue()


@cache
def prepared(folder: Path) -> tuple[Path, Path, list[Command]]:
    """Data, a finished run, and the commands other than training that write files; made once for all campaigns."""
    data, run = small_data(folder / "red2blue"), folder / "made" / "run"
    run_here(train_words(data, run.parent))
    run_here(["translate", run, data / "testA", "-o", folder / "first"])
    archive = shutil.make_archive(str(folder / "maps"), "zip", data)
    return (
        data,
        run,
        [
            Command("translate", lambda out: ["translate", run, data / "trainA", "-o", out / "t", "--overwrite"]),
            Command("data get", lambda out: ["data", "get", "maps", "--from-file", archive, "-o", out / "d"]),
            Command("data prepare", lambda out: ["data", "prepare", data, "-o", out / "p", "--size", 16]),
            Command("export", lambda out: ["export", run, "--format", "safetensors", "-o", out / "e", "--overwrite"]),
            Command("report", lambda out: ["report", out / "r"]),
        ],
    )


def limit_memory(mebibytes: int) -> Fault:
    """Leave the process this much address space beyond what it has."""

    def install(folder: Path) -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + mebibytes * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    return install


def choose(rng: random.Random, total: int, rounds: int) -> list[int]:
    """`rounds` of the numbers 1 to `total`: every one if that is enough, then random ones."""
    every = list(range(1, total + 1))
    if rounds < total:
        return sorted(rng.sample(every, rounds))
    return every + [rng.randint(1, total) for _ in range(rounds - total)]
