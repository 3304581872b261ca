"""Many translations in one process, and a long run: memory, file descriptors and threads must not grow."""

import csv
import os
import random
import signal
import threading
import time
from pathlib import Path

from campaigns.harness import HANG, Tally, finish, prepared, run_words, start, train_words
from conftest import has_steps

WARM = 300  # seconds of training before which memory may still grow
GROWTH = 0.03  # of the memory, from the second tenth to the last


def resident(process: int | str = "self") -> float:
    """Memory of a process in MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def usage(process: int | str = "self") -> tuple[int, int]:
    """Open file descriptors and threads of a process."""
    return tuple(len(list(Path(f"/proc/{process}/{what}").iterdir())) for what in ("fd", "task"))  # type: ignore[return-value]


def soak(rng: random.Random, rounds: int, folder: Path) -> Tally:
    """100 translations for each round, 10,000 at most, and a training run of a second for each."""
    tally = Tally()
    if not Path("/proc/self/statm").exists():
        tally.not_run = "soak: needs /proc, as on Linux"
        return tally
    data, run, _ = prepared(folder)
    translate(run, rng, min(100 * rounds, 10_000), folder, tally)
    train(data, rounds, folder, tally)
    return tally


def translate(run: Path, rng: random.Random, count: int, folder: Path, tally: Tally) -> None:
    log = folder / "translations.csv"

    def translations() -> None:
        import numpy as np
        from PIL import Image

        from cyclegan import Translator

        translator = Translator.load(run)
        with log.open("w") as file:
            for number in range(count):
                side = rng.choice((16, 20, 24))
                translator.translate(Image.fromarray(np.full((side, side, 3), number % 256, np.uint8)))
                if number % (count // 100) == 0:
                    print(resident(), *usage(), threading.active_count(), sep=",", file=file)

    outcome = finish(start(translations, folder / "soak.log"), folder / "soak.log", 3 * 3600)
    tally.expect(outcome.code == 0, f"translations: {outcome.text[-300:]}")
    tally.add("translations in one process", count)
    judge("translations", list(csv.reader(log.open())), tally)


def train(data: Path, seconds: float, folder: Path, tally: Tally) -> None:
    words = train_words(data, folder / "long", max_steps=10**9, epochs=10**9, save_minutes=0.02)
    child, rows = start(run_words(words, folder / "long"), folder / "long.log"), []
    end = time.monotonic() + 10 * HANG
    while not has_steps(folder / "long" / "run", 2) and time.monotonic() < end:
        time.sleep(0.1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(seconds / 100)
        rows.append([str(resident(child)), *map(str, usage(child))])
    os.kill(child, signal.SIGTERM)
    outcome = finish(child, folder / "long.log")
    tally.add("seconds of training", round(seconds))
    saved = outcome.code == 128 + signal.SIGTERM and not outcome.signal
    tally.expect(saved, f"long training: {outcome.text[-300:]}")
    if seconds >= WARM:
        judge("training", rows, tally)


def judge(what: str, rows: list[list[str]], tally: Tally) -> None:
    """Compare the last tenth with the second."""
    tenth = max(1, len(rows) // 10)
    early, late = rows[tenth : 2 * tenth], rows[-tenth:]
    before, after = (sum(float(row[0]) for row in part) / len(part) for part in (early, late))
    tally.counts[f"KiB of growth of {what}"] = round(1024 * (after - before))
    tally.expect(after <= before * (1 + GROWTH), f"{what}: {before:.1f} MiB grew to {after:.1f} MiB")
    tally.expect(late[-1][1:] == early[0][1:], f"{what}: descriptors and threads {early[0][1:]} became {late[-1][1:]}")
