"""Kills, failing disks, little memory and jumping clocks, for every command that writes files."""

import errno
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from functools import cache
from pathlib import Path

from campaigns.harness import (
    HANG,
    Command,
    Outcome,
    Tally,
    at_write,
    attempt,
    choose,
    contents,
    count_writes,
    die,
    fail,
    finish,
    leftovers,
    limit_memory,
    prepared,
    run_words,
    start,
    train_words,
)
from conftest import has_steps, metrics, tensors
from hub_server import Hub

ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EROFS": errno.EROFS, "EDQUOT": errno.EDQUOT}


class Training:
    """A run that was never disturbed, with which disturbed ones are compared."""

    def __init__(self, data: Path, folder: Path):
        self.data, self.folder = data, folder
        words = train_words(data, folder / "whole")
        self.writes, outcome = count_writes(words, folder / "whole")
        assert outcome.code == 0, outcome.text
        self.seconds = outcome.seconds
        self.tensors, self.metrics = tensors(folder / "whole" / "run"), metrics(folder / "whole" / "run")

    def finish(self, runs: Path, tally: Tally, what: str) -> None:
        """Resume a disturbed run, and compare it."""
        words = ["resume", runs / "run"] if (runs / "run" / "config.toml").exists() else train_words(self.data, runs)
        if words[0] == "train":  # killed before there was a run
            shutil.rmtree(runs, ignore_errors=True)
        outcome = attempt(words, runs)
        tally.expect(outcome.code == 0, f"{what}: lost: {outcome.text[-300:]}")
        if outcome.code == 0:
            self.compare(runs, tally, what)

    def compare(self, runs: Path, tally: Tally, what: str) -> None:
        found = tensors(runs / "run")
        equal = found.keys() == self.tensors.keys() and all((found[n] == t).all() for n, t in self.tensors.items())
        tally.expect(equal, f"{what}: resumed to other weights")
        tally.expect(metrics(runs / "run") == self.metrics, f"{what}: resumed to other metrics")
        tally.expect(not leftovers(runs), f"{what}: temporary files left: {leftovers(runs)}")
        shutil.rmtree(runs)


undisturbed = cache(Training)


def kills(rng: random.Random, rounds: int, folder: Path) -> Tally:
    """SIGKILL at every write boundary and at random moments; then the work is finished and compared."""
    tally = Tally()
    data, run, commands = prepared(folder)
    training = undisturbed(data, folder)
    for number in choose(rng, training.writes, rounds // 2):
        runs = folder / "killed"
        attempt(train_words(data, runs), runs, at_write(number, die))
        tally.add("kills of training at a write")
        training.finish(runs, tally, f"training killed at write {number}")
    for _ in range(rounds - rounds // 2):
        runs, seconds = folder / "killed", rng.uniform(0, training.seconds)
        attempt(train_words(data, runs), runs, seconds=seconds)
        tally.add("kills of training at a moment")
        if (runs / "run" / "config.toml").exists() and rng.random() < 0.5:
            attempt(["resume", runs / "run"], runs, seconds=rng.uniform(0, training.seconds))
            tally.add("kills of a resumed run")
        training.finish(runs, tally, f"training killed after {seconds:.2f} s")
    for command in commands if rounds > 1 else rng.sample(commands, 1):
        disturb(command, run, rng, max(1, rounds // 4), folder, tally, {"SIGKILL": None})
    kill_publishing(run, rng, max(1, rounds // 4), folder, tally)
    return tally


def kill_publishing(run: Path, rng: random.Random, rounds: int, folder: Path, tally: Tally) -> None:
    """SIGKILL at random moments of an upload; the hub has the whole model or none, and the next upload completes it."""
    hub = Hub()
    threading.Thread(target=hub.serve_forever, daemon=True).start()

    def use_hub(_: Path) -> None:
        os.environ |= {"HF_ENDPOINT": hub.address, "HF_TOKEN": "hf_stand_in"}

    def publish(seconds: float | None = None) -> Outcome:
        return attempt(["publish", run, "me/model"], folder / "published", use_hub, seconds)

    outcome = publish()
    assert outcome.code == 0, outcome.text
    whole = hub.repositories.pop("me/model")
    for _ in range(rounds):
        seconds = rng.uniform(0, outcome.seconds)
        what = f"publish killed after {seconds:.2f} s"
        publish(seconds)
        tally.add("kills of publish")
        tally.expect(hub.repositories.get("me/model") in (None, {}, whole), f"{what}: the model is not whole")
        again = publish()
        tally.expect(again.code == 0, f"{what}: lost: {again.text[-300:]}")
        tally.expect(hub.repositories.pop("me/model", {}) == whole, f"{what}: another model")
    hub.shutdown()
    hub.server_close()


def disk(rng: random.Random, rounds: int, folder: Path) -> Tally:
    """ENOSPC, EIO, EROFS and EDQUOT at every write boundary; and, for root, file systems that are really full."""
    tally = Tally()
    data, run, commands = prepared(folder)
    training = undisturbed(data, folder)
    for number in choose(rng, training.writes, rounds):
        runs, (name, code) = folder / "failed", rng.choice(list(ERRORS.items()))
        outcome = attempt(train_words(data, runs), runs, at_write(number, fail(code)))
        tally.add("failed writes of training")
        what = f"training with {name} at write {number}"
        tally.expect(not outcome.problem, f"{what}: {outcome.problem}")
        if outcome.code:
            training.finish(runs, tally, what)
        else:
            tally.add("of them tolerated")
            shutil.rmtree(runs)
    for command in commands if rounds > 1 else rng.sample(commands, 1):
        disturb(command, run, rng, max(1, rounds // 4), folder, tally, ERRORS)
    full_disks(rng, rounds, folder, data, tally)
    return tally


def full_disks(rng: random.Random, rounds: int, folder: Path, data: Path, tally: Tally) -> None:
    """Training on file systems of a few hundred KB, which fill up in the middle of a write."""
    runs = folder / "full"
    runs.mkdir(exist_ok=True)
    for _ in range(max(1, rounds // 4)):
        size = rng.randint(16, 2048)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(runs)]
        try:
            subprocess.run(mount, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            tally.not_run = "full disks: mounting a tmpfs needs root on Linux"
            return
        try:
            outcome = attempt(train_words(data, runs), runs)
            tally.add("full disks")
            tally.expect(not outcome.problem, f"training on {size} KB: {outcome.problem}")
            latest = runs / "run" / "checkpoints" / "latest"
            if latest.exists():
                tally.expect(tensors(runs / "run"), f"training on {size} KB: the checkpoint is not whole")
        finally:
            subprocess.run(["umount", str(runs)], check=True)


def disturb(
    command: Command,
    run: Path,
    rng: random.Random,
    rounds: int,
    folder: Path,
    tally: Tally,
    kinds: dict[str, int] | dict[str, None],
) -> None:
    """Disturb a command at its write boundaries; what it leaves is whole, and running it again completes it."""

    def fresh(name: str) -> Path:
        out = folder / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        if command.name == "report":
            shutil.copytree(run, out / "r", ignore=shutil.ignore_patterns("report.html"))
        return out

    out = fresh("undisturbed")
    words, before = command.words(out), contents(out)
    writes, outcome = count_writes(words, out)
    assert outcome.code == 0, outcome.text
    whole = contents(out)
    for number in choose(rng, writes, min(rounds, 3 * writes)):
        shutil.rmtree(out)
        fresh("undisturbed")
        name, code = rng.choice(list(kinds.items()))
        what = f"{command.name} with {name} at write {number}"
        outcome = attempt(words, out, at_write(number, die if code is None else fail(code)))
        tally.add(f"{'kills' if code is None else 'failed writes'} of {command.name}")
        if code is not None:
            tally.expect(not outcome.problem, f"{what}: {outcome.problem}")
        for path, digest in contents(out).items():
            if not any(part.startswith(".") for part in Path(path).parts):
                tally.expect(digest in (whole.get(path), before.get(path)), f"{what}: {path} is not whole")
        if outcome.code:
            again = attempt(words, out)
            tally.expect(again.code == 0, f"{what}: lost: {again.text[-300:]}")
        elif name != "SIGKILL":
            tally.add("of them tolerated")
            continue
        tally.expect(contents(out) == whole, f"{what}: other files: {sorted(contents(out).keys() ^ whole.keys())}")
    shutil.rmtree(out)


def memory(rng: random.Random, rounds: int, folder: Path) -> Tally:
    """Commands with less and less address space: a sentence, or the work is done."""
    tally = Tally()
    data, run, _ = prepared(folder)
    for _ in range(rounds):
        size = round(2 ** rng.uniform(0, 9))
        runs = folder / "little"
        for words in (
            train_words(data, runs, generator_width=16),
            ["translate", run, data / "trainA", "-o", runs / "t"],
        ):
            outcome = attempt(words, runs, limit_memory(size))
            tally.add("limits of memory")
            tally.add("of them too low", bool(outcome.code))
            tally.expect(not outcome.problem, f"{words[0]} with {size} MB: {outcome.problem}")
            shutil.rmtree(runs, ignore_errors=True)
    return tally


def clocks(rng: random.Random, rounds: int, folder: Path) -> Tally:
    """The clock of the day jumps by years while a run trains, in both directions."""
    tally = Tally()
    data, _, _ = prepared(folder)
    training = undisturbed(data, folder)
    for _ in range(rounds):
        runs, real = folder / "jumped", time.time

        def jump(_: Path, real: object = real) -> None:
            time.time = lambda: real() + rng.choice((-1, 1)) * rng.uniform(0, 1e9)  # type: ignore[operator]

        outcome = attempt(train_words(data, runs), runs, jump)
        tally.add("runs with jumping clocks")
        tally.expect(outcome.code == 0, f"jumping clock: {outcome.text[-300:]}")
        minutes = [
            float(row.split(",")[3]) for row in (runs / "run" / "metrics.csv").read_text().splitlines()[1:] if row
        ]
        tally.expect(minutes == sorted(minutes) and 0 <= minutes[-1] < 5, f"jumping clock: minutes {minutes}")
        training.compare(runs, tally, "jumping clock")
    return tally


def two_at_once(rng: random.Random, rounds: int, folder: Path) -> Tally:
    """A second training, translate, report and diagnose on a run that is being trained and saved at every step."""
    tally = Tally()
    data, _, _ = prepared(folder)
    for _ in range(rounds):
        runs = folder / "shared"
        child = start(run_words(train_words(data, runs, max_steps=10_000), runs), folder / "first.log")
        try:
            end = time.monotonic() + 10 * HANG
            while not has_steps(runs / "run", 2) and time.monotonic() < end:
                time.sleep(0.05)
            second = attempt(["resume", runs / "run"], folder / "second")
            tally.add("second trainings")
            sentence = "is being trained by another process" in second.text
            tally.expect(second.code == 2 and sentence, f"second training: exit {second.code}: {second.text[-300:]}")
            readers: list[list[object]] = [
                ["translate", runs / "run", data / "trainA", "-o", folder / "out", "--overwrite"],
                ["report", runs / "run"],
                ["diagnose", runs / "run"],
            ]
            for words in readers if rounds > 1 else readers[:1]:
                outcome = attempt(words, folder / "reader")
                tally.add("readers of a run that is being trained")
                tally.expect(outcome.code == 0, f"{words[0]} while training: {outcome.problem}: {outcome.text[-300:]}")
        finally:
            os.kill(child, signal.SIGTERM)
            first = finish(child, folder / "first.log")
        saved = first.code == 128 + signal.SIGTERM and not first.signal
        tally.expect(saved, f"the first training: {first.problem}: {first.text[-300:]}")
        shutil.rmtree(runs, ignore_errors=True)
    return tally
