"""Shared by the benchmarks that compare whole runs: train, evaluate, store the result, and write a table into a page.

A run is trained for minutes, or for CPU seconds: then a short run finds the time of a step, and the number of steps
is fixed, so that the result depends little on what else the machine does meanwhile.
"""

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

from cyclegan import Monitor, configure, evaluate, train
from cyclegan.training.monitor import TrainStatus
from results import read_results, spread

Values = dict[str, dict[str, float]]  # by direction and metric
ByKind = dict[str, Values]  # "value" of the translations, "untranslated" and "real"
METRICS = {
    "psnr": ("PSNR in dB", 2),
    "ssim": ("SSIM", 3),
    "kd_efficientnet": ("KD", 3),
    "swd": ("SWD", 0),
    "gradient_energy": ("gradient energy", 0),
    "nyquist_ratio": ("Nyquist ratio", 2),
    "edge_agreement": ("edge agreement", 3),
    "kept_change": ("change outside the mask", 3),
    "miou": ("mIoU", 3),
}
TIMED_STEPS = 72  # of the short run, long enough for the identity loss of its second half to be left out
WARMUP_STEPS = 8


@dataclass(frozen=True)
class Trial:
    """A recipe, by its settings, on a data folder; evaluated on the test images of `test`, if that is another one."""

    data: Path
    recipe: str
    settings: dict[str, Any] = field(default_factory=dict)
    test: Path | None = None


@dataclass(frozen=True)
class Result:
    """One trained recipe: metrics by direction, of its translations, of untranslated and of real images."""

    data: str
    recipe: str
    seed: int
    minutes: float  # the budget
    steps: int
    translated: Values
    untranslated: Values
    real: Values
    cpu_seconds: float = 0.0  # of training


class CpuTime(Monitor):
    """CPU seconds of this process at the start and after each step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_start(self, run: Path, step: int) -> None:
        """See the class."""
        self.seconds.append(time.process_time())

    def on_step(self, status: TrainStatus) -> None:
        """See the class."""
        self.seconds.append(time.process_time())


def draw_sets(folder: Path, sets: Mapping[str, Callable[[Path], object]]) -> None:
    """Draw the data sets that `folder` lacks; one is there completely or not at all."""
    for name, draw in sets.items():
        if not (folder / name).exists():
            unfinished = folder / f"{name}-unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            draw(unfinished)
            unfinished.rename(folder / name)


def train_in(folder: Path, **settings: Any) -> tuple[Path, list[float]]:
    """Train a run of this folder, in place of what an interrupted benchmark left there; also the `CpuTime`."""
    shutil.rmtree(folder, ignore_errors=True)
    settings |= {"runs": folder.parent, "name": folder.name, "device": "cpu", "logger": (), "sample_every": 10**6}
    clock = CpuTime()
    return train(configure(**settings), monitors=[clock]), clock.seconds


def steps_within(cpu_seconds: float, folder: Path, settings: Mapping[str, Any]) -> int:
    """How many steps of a recipe take this CPU time."""
    run, times = train_in(folder, **settings, max_steps=TIMED_STEPS, measure_every=0)
    shutil.rmtree(run)
    return max(1, round(cpu_seconds * (TIMED_STEPS - WARMUP_STEPS) / (times[-1] - times[WARMUP_STEPS])))


def measure(
    folder: Path, trial: Trial, seed: int, minutes: float, steps: int | None, more: Callable[[Path, Trial], ByKind]
) -> Result:
    """Train a trial in a run folder below `folder` and evaluate its directions; `steps` instead of the minutes."""
    name = f"{trial.data.name}-{trial.recipe.replace(', ', '-')}-{minutes:g}min-seed{seed}".replace(" ", "-")
    budget: dict[str, Any] = {"max_minutes": minutes} if steps is None else {"max_steps": steps, "measure_every": 0}
    run, times = train_in(folder / "runs" / name, **{"data": trial.data, "seed": seed} | budget | trial.settings)
    evaluations, others = evaluate(run, trial.test, device="cpu"), more(run, trial)
    values: ByKind = {}
    for kind in ("value", "untranslated", "real"):
        values[kind] = {
            str(each.direction): {n: getattr(each.metrics[n], kind) for n in METRICS if n in each.metrics}
            | others.get(kind, {}).get(each.direction, {})
            for each in evaluations
        }
    metrics = values["value"], values["untranslated"], values["real"]
    return Result(trial.data.name, trial.recipe, seed, minutes, len(times) - 1, *metrics, times[-1] - times[0])


def measure_all(
    folder: Path,
    trials: Sequence[Trial],
    seeds: Sequence[int],
    minutes: float,
    cpu_time: bool = False,
    more: Callable[[Path, Trial], ByKind] = lambda run, trial: {},
) -> list[Result]:
    """The result of each seed and trial, trained now where it is not stored in `folder`.

    With `cpu_time`, the minutes are CPU time. `more` returns further metrics of a trained run.
    """
    file, chosen = folder / "results.jsonl", []
    for seed, trial in product(seeds, trials):
        key = (trial.data.name, trial.recipe, minutes)
        of_trial = [r for r in read_results(file, Result) if (r.data, r.recipe, r.minutes) == key]
        done = [r for r in of_trial if r.seed == seed]
        if not done:
            steps = of_trial[0].steps if of_trial and cpu_time else None  # the same for each seed
            if cpu_time and steps is None:
                settings = {"data": trial.data} | trial.settings
                steps = steps_within(60 * minutes, folder / "runs" / "timed", settings)
            done = [measure(folder, trial, seed, minutes, steps, more)]
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(done[0])) + "\n")
        chosen += done
    return chosen


def table(results: Sequence[Result], metrics: Sequence[str], cpu_time: bool = False) -> str:
    """The results as Markdown: a row for each data set and recipe, A → B / B → A in each cell, means over the seeds."""
    budget = "CPU seconds" if cpu_time else "minutes"
    head = ["data", "recipe", budget, "steps", *(METRICS[name][0] for name in metrics), "seeds"]
    rows = [head, ["---"] * len(head)]
    for data in dict.fromkeys(r.data for r in results):
        mine = [r for r in results if r.data == data]
        for name, values in (("untranslated", mine[0].untranslated), ("real images", mine[0].real)):
            rows.append([data, name, "", "", *_cells([values], metrics), ""])
        for recipe in dict.fromkeys(r.recipe for r in mine):
            runs = [r for r in mine if r.recipe == recipe]
            budget = f"{mean(r.cpu_seconds for r in runs):.0f}" if cpu_time else f"{runs[0].minutes:g}"
            steps = f"{mean(r.steps for r in runs):,.0f}"
            rows.append([data, recipe, budget, steps, *_cells([r.translated for r in runs], metrics), f"{len(runs)}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(runs: Sequence[Values], metrics: Sequence[str]) -> list[str]:
    cells = []
    for name in metrics:
        of_runs = [[r.get(d, {}).get(name) for r in runs] for d in ("AtoB", "BtoA")]  # some learn one direction
        found = [[value for value in values if value is not None] for values in of_runs]
        cells.append(" / ".join(spread(values, METRICS[name][1]) for values in found if values))
    return cells


def write_table(page: Path, name: str, rows: str) -> None:
    """Replace the rows between two comments of a page, and print them."""
    text, begin, end = page.read_text("utf-8"), f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page.write_text(f"{text.split(begin)[0]}{begin}\n{rows}\n{end}{text.split(end)[1]}", encoding="utf-8")
    print(f"{rows}\nWritten to {page}")


def options_of(description: str | None, folder: str, minutes: float) -> argparse.ArgumentParser:
    """The options that these benchmarks share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="*", help="data folders, in addition to the built-in sets")
    parser.add_argument("--minutes", type=float, default=minutes, help="minutes of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds for each recipe")
    parser.add_argument("--folder", type=Path, default=Path(folder), help="built-in data, runs and results")
    return parser
