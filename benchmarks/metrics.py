"""Which metrics rank checkpoints as the ground truth does, over data sets, directions and checkpoints.

``python benchmarks/metrics.py emoji=data/emoji facades=data/facades`` trains a small CycleGAN on the built-in seasons
and on each named data set, keeps several checkpoints, evaluates each with every metric on test images with ground
truth, and prints the rank correlation of each metric with similarity to the ground truth. The data sets need test
images with equal names in both domains. It can be stopped at any time; the next start continues.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from scipy.stats import spearmanr  # comes with scikit-image

from cyclegan import Config, resume, train
from cyclegan.config.presets import Environment
from cyclegan.config.resolve import resolve
from cyclegan.data.get import seasons
from cyclegan.evaluation.evaluate import evaluate
from cyclegan.evaluation.table import format_number
from cyclegan.methods.registry import method_spec
from cyclegan.runs import checkpoint
from cyclegan.runs.results import Evaluation, metric_info, sort_metrics
from results import run_program

STEPS = (20, 60, 150, 300, 500)
IMAGES = 100  # test images per direction
TRUTHS = ("psnr", "ssim", "l1")


def trained(name: str, data: Path, folder: Path) -> Path:
    """The run of a data set with a checkpoint after each of `STEPS`, trained as far as necessary."""
    run = folder / "runs" / name
    for steps in STEPS:
        kept = run / "checkpoints" / f"step-{steps:07d}"
        if kept.exists():
            continue
        if run.exists():
            resume(run, max_steps=steps)
        else:
            train(_config(name, data, run, steps))
        checkpoint.keep_numbered_copy(run / "checkpoints", steps, keep=0)
    return run


def _config(name: str, data: Path, run: Path, steps: int) -> Config:
    settings = {"max_steps": steps, "schedule": "constant", "sample_every": max(STEPS)}
    settings |= {"data": data, "runs": run.parent, "name": name, "device": "cpu", "logger": (), "generator": "resnet"}
    return resolve("auto", method_spec("cyclegan"), settings, environment=Environment(64, gpu_memory=None))


def measured(runs: dict[str, Path]) -> list[tuple[str, Evaluation]]:
    """The name of the data set and the evaluation of every checkpoint and direction."""
    found = []
    for name, run in runs.items():
        for steps in STEPS:
            step = f"step-{steps:07d}"
            found += [
                (name, each) for each in evaluate(run, checkpoint=step, max_images=IMAGES, on_progress=report_progress)
            ]
    return found


def report_progress(text: str) -> None:
    print(text, file=sys.stderr)


def metrics_table(found: Sequence[tuple[str, Evaluation]]) -> str:
    """A row per checkpoint and direction as Markdown."""
    keys = shared(found)
    lines = [["data", "direction", "steps", *(metric_info(key).name for key in keys)]]
    lines.append(["---"] * len(lines[0]))
    for name, each in found:
        cells = [format_number(each.metrics[key].value, metric_info(key).digits) for key in keys]
        lines.append([name, f"{each.source} → {each.target}", str(each.step), *cells])
    return markdown(lines)


def correlations(found: Sequence[tuple[str, Evaluation]]) -> str:
    """Spearman's rank correlation of each metric with each of `TRUTHS`: mean, minimum and maximum over the groups.

    A group is a direction of a data set. Signs are such that 1 means the same ranking of the checkpoints.
    """
    lines = [["metric", *(f"with {metric_info(t).name}" for t in TRUTHS)], ["---"] * (1 + len(TRUTHS))]
    groups = sorted({(name, each.direction) for name, each in found})
    for key in shared(found):
        row = [f"{metric_info(key).name}"]
        for truth in TRUTHS:
            ranks = []
            for group in groups:
                mine = [each.metrics for name, each in found if (name, each.direction) == group]
                ranks.append(agreement([f[key].value for f in mine], [f[truth].value for f in mine], key, truth))
            known = [rank for rank in ranks if rank is not None]
            row.append(spread(known) if known else "–")
        lines.append(row)
    return markdown(lines)


def spread(values: Sequence[float]) -> str:
    """Mean, minimum and maximum."""
    mean, low, high = (
        f"{value + 0.0:.2f}".replace("-", "−") for value in (statistics.mean(values), min(values), max(values))
    )
    return f"{mean} ({low} to {high})"


def agreement(values: Sequence[float], truths: Sequence[float], key: str, truth: str) -> float | None:
    """Rank correlation, 1 for the same ranking from bad to good; None if either is constant.

    Metrics without a preferred direction count as higher is better.
    """
    if len(set(values)) < 2 or len(set(truths)) < 2:
        return None
    sign = 1 if (metric_info(key).better == "lower") == (metric_info(truth).better == "lower") else -1
    return sign * float(spearmanr(values, truths).statistic)


def shared(found: Sequence[tuple[str, Evaluation]]) -> list[str]:
    """The metrics of all evaluations."""
    return sort_metrics(k for k in found[0][1].metrics if all(k in each.metrics for _, each in found))


def markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the missing runs, evaluate, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help="data sets as NAME=FOLDER")
    parser.add_argument("--folder", type=Path, default=Path("outputs/metrics"), help="folder for data and runs")
    options = parser.parse_args(arguments)
    if not (options.folder / "seasons").exists():
        seasons.write_seasons(options.folder / "seasons")
    folders = {"seasons": options.folder / "seasons"} | {
        n: Path(p) for n, p in (word.split("=") for word in options.data)
    }
    runs = {name: trained(name, folder, options.folder) for name, folder in folders.items()}
    found = measured(runs)
    print(f"{correlations(found)}\n\n{metrics_table(found)}")


if __name__ == "__main__":
    run_program(main)
