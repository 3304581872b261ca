"""Which metric orders checkpoints as the truth does: a table over data sets, directions and checkpoints.

``python benchmarks/metrics.py emoji=data/emoji facades=data/facades`` trains a small CycleGAN on the built-in seasons
and on each data set named, keeps it after a few numbers of steps, measures every checkpoint by every metric on test
images whose truth is known, and prints the rank correlation of each metric with the truth. The data sets need test
images in pairs of equal names. Stop it whenever you like: started again, it goes on where it was.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclegan import Config, resume, train
from cyclegan.data import seasons
from cyclegan.errors import CycleGANError
from cyclegan.presets import Surroundings, automatic
from cyclegan.terminal import TerminalDisplay, hush
from cyclegan.training import checkpoint

STEPS = (20, 60, 150, 300, 500, 800)


def trained(name: str, data: Path, folder: Path) -> Path:
    """The run of a data set with a checkpoint after each of `STEPS`, trained as far as it is not yet."""
    run = folder / "runs" / name
    for steps in STEPS:
        kept = run / "checkpoints" / f"step-{steps:07d}"
        if kept.exists():
            continue
        if run.exists():
            resume(run, max_steps=steps, watch=[TerminalDisplay()])
        else:
            train(_config(name, data, run, steps), watch=[TerminalDisplay()])
        checkpoint.keep_numbered(run / "checkpoints", steps, keep=0)
    return run


def _config(name: str, data: Path, run: Path, steps: int) -> Config:
    settings: dict[str, Any] = automatic(Surroundings(image_size=64, gpu_memory=None), "cyclegan")[0]
    settings |= {"max_minutes": None, "max_steps": steps, "schedule": "constant", "sample_every": max(STEPS)}
    settings |= {"data": data, "runs": run.parent, "name": name, "accelerator": "cpu", "tensorboard": False}
    return Config().with_settings(**settings)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what is not trained yet, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help="data sets as NAME=FOLDER")
    parser.add_argument("--folder", type=Path, default=Path("outputs/metrics"), help="data and runs")
    options = parser.parse_args(arguments)
    hush()
    if not (options.folder / "seasons").exists():
        seasons.write(options.folder / "seasons")
    places = {"seasons": options.folder / "seasons"} | {
        n: Path(p) for n, p in (word.split("=") for word in options.data)
    }
    runs = {name: trained(name, place, options.folder) for name, place in places.items()}


if __name__ == "__main__":
    try:
        main()
    except CycleGANError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
