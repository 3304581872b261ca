"""Processes of one run that are killed, stopped or fail; loader processes that are killed; restarts by torchrun."""

import multiprocessing
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import cache
from itertools import cycle
from pathlib import Path

import psutil

from campaigns.faults import undisturbed
from campaigns.harness import (
    Fault,
    Outcome,
    Tally,
    attempt,
    die,
    finish,
    leftovers,
    prepared,
    run_words,
    start,
    train_words,
)
from campaigns.hostile import at_step
from conftest import has_steps, metrics, tensors

PROCESSES = 2
STEPS = 40  # the processes agree on saving every ten steps
TIMEOUT = 0.2  # minutes without an answer after which a process ends
ENDS = 90.0  # seconds within which the others end, on a busy machine; plus the timeout after a stop
LOST = "Another process of this run"


def together(words: list[object], runs: Path, faults: dict[int, Fault]) -> list[Outcome]:
    """Run a command line in several processes, one at most with a fault; their outcomes by rank.

    The seconds of the others are counted from the end or stop of the one with the fault.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    runs.mkdir(exist_ok=True)

    def join(rank: int) -> Fault:
        def install(folder: Path) -> None:
            variables = {"LOCAL_RANK": rank, "NODE_RANK": 0, "WORLD_SIZE": PROCESSES, "MASTER_PORT": port}
            os.environ.update({name: str(value) for name, value in variables.items()} | {"MASTER_ADDR": "127.0.0.1"})
            faults.get(rank, lambda _: None)(folder)

        return install

    logs = [runs.parent / f"{runs.name}-{rank}.log" for rank in range(PROCESSES)]
    children = [start(run_words(words, runs, join(rank)), log) for rank, log in enumerate(logs)]
    for victim in faults:
        while psutil.Process(children[victim]).status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
            time.sleep(0.01)
    outcomes = {rank: finish(children[rank], logs[rank]) for rank in range(PROCESSES) if rank not in faults}
    outcomes |= {rank: finish(children[rank], logs[rank], 0) for rank in faults}  # one that is stopped is killed
    return [outcomes[rank] for rank in range(PROCESSES)]


def distributed_words(data: Path, runs: Path) -> list[object]:
    return train_words(data, runs, devices=PROCESSES, max_steps=STEPS, process_timeout=TIMEOUT)


@cache
def whole_run(data: Path, folder: Path) -> Path:
    """A run of several processes that was never disturbed."""
    for rank, outcome in enumerate(together(distributed_words(data, folder / "several"), folder / "several", {})):
        assert outcome.code == 0, f"process {rank}: {outcome.text}"
    return folder / "several" / "run"


def compare(run: Path, whole: Path, tally: Tally, what: str) -> None:
    found, expected = tensors(run), tensors(whole)
    equal = found.keys() == expected.keys() and all((found[name] == value).all() for name, value in expected.items())
    tally.expect(equal, f"{what}: resumed to other weights")
    tally.expect(metrics(run) == metrics(whole), f"{what}: resumed to other metrics")
    tally.expect(not leftovers(run), f"{what}: temporary files left: {leftovers(run)}")
    shutil.rmtree(run.parent)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def fail_in_data() -> None:
    """From now on no image can be read."""
    from cyclegan.data import datasets
    from cyclegan.imaging.source import UnreadableImage

    def load(self: object, source: object, spec: object) -> None:
        raise UnreadableImage("The disk is gone.")

    datasets.UnpairedImages.load = load  # type: ignore[assignment]


KINDS = {"killed": die, "failing in its data": fail_in_data, "stopped": stop}


def processes(rng: random.Random, rounds: int, folder: Path) -> Tally:
    """In each round one process is killed, stopped or fails, and loader processes are killed; torchrun at times."""
    tally = Tally()
    data, _, _ = prepared(folder)
    for number, kind in zip(range(rounds), cycle(KINDS), strict=False):
        disturb_one(data, folder, kind, rng, tally)
        kill_loader(data, folder, rng, workers=1 + number % 2, tally=tally)
        if number % 10 == 1:
            restart(data, folder, rng, tally)
    return tally


def disturb_one(data: Path, folder: Path, kind: str, rng: random.Random, tally: Tally) -> None:
    runs, victim, step = folder / "disturbed", rng.randrange(PROCESSES), rng.randint(1, STEPS - 1)
    what = f"process {victim} {kind} at step {step}"
    fault = at_step(step, lambda *_: KINDS[kind]())
    outcomes = together(distributed_words(data, runs), runs, {victim: fault})
    tally.add(f"processes {kind}")
    for rank, outcome in enumerate(outcomes):
        if rank != victim:
            tally.expect(outcome.code == 1 and not outcome.problem, f"{what}: process {rank} exits {outcome.code}")
            tally.expect(outcome.text.count(f"cyclegan: {LOST}") == 1, f"{what}: {outcome.text[-300:]}")
            limit = ENDS + 60 * TIMEOUT * (kind == "stopped")
            tally.expect(outcome.seconds < limit, f"{what}: process {rank} ended after {outcome.seconds:.0f} s")
        elif kind == "failing in its data":
            tally.expect(outcome.code == 2 and not outcome.problem, f"{what}: exits {outcome.code}: {outcome.problem}")
    started = (runs / "run" / "config.toml").exists()
    words = ["resume", runs / "run"] if started else distributed_words(data, runs)
    for rank, outcome in enumerate(together(words, runs, {})):
        tally.expect(outcome.code == 0, f"{what}: process {rank} does not resume: {outcome.text[-300:]}")
    compare(runs / "run", whole_run(data, folder), tally, what)


def kill_loader(data: Path, folder: Path, rng: random.Random, workers: int, tally: Tally) -> None:
    """The system kills a loader process for its memory; training continues with the others, or ends with a sentence."""
    runs, step, training = folder / "loaded", rng.randint(2, 4), undisturbed(data, folder)

    def kill(*_: object) -> None:
        os.kill(rng.choice(multiprocessing.active_children()).pid or 0, signal.SIGKILL)

    what = f"one of {workers} loader processes killed at step {step}"
    outcome = attempt(train_words(data, runs, workers=workers), runs, at_step(step, kill))
    tally.add("loader processes killed")
    tally.expect(not outcome.problem, f"{what}: {outcome.problem}")
    tally.expect("was killed by signal 9" in outcome.text, f"{what}: is not named: {outcome.text[-300:]}")
    if outcome.code:
        tally.expect(workers == 1, f"{what}: ended")
        training.finish(runs, tally, what)
    else:
        training.compare(runs, tally, what)


def restart(data: Path, folder: Path, rng: random.Random, tally: Tally) -> None:
    """A process is killed under `torchrun --max-restarts`, which starts all again; they resume by themselves."""
    runs, victim = folder / "restarted", rng.randrange(PROCESSES)
    words = ["--standalone", "--nproc-per-node", PROCESSES, "--max-restarts", 1, "-m", "cyclegan"]
    words += [*distributed_words(data, runs), "--process-timeout", 5]  # real processes need seconds to start
    with (folder / "torchrun.log").open("w") as log:
        launcher = [sys.executable, "-m", "torch.distributed.run", *map(str, words)]
        torchrun = subprocess.Popen(launcher, stdout=log, stderr=log)
    end = time.monotonic() + 600
    while not has_steps(runs / "run", 12) and torchrun.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    for process in psutil.Process(torchrun.pid).children():
        if process.environ().get("LOCAL_RANK") == str(victim):
            process.kill()
    what, code = f"process {victim} killed under torchrun", torchrun.wait(600)
    text = (folder / "torchrun.log").read_text()
    tally.add("restarts by torchrun")
    tally.expect(code == 0, f"{what}: exit {code}: {text[-300:]}")
    tally.expect(text.count("Run folder") == 2, f"{what}: was not restarted")
    compare(runs / "run", whole_run(data, folder), tally, what)
