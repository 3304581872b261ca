"""Does augmenting what discriminators see help, when there are 30 images a side?

``python benchmarks/augmentation.py`` draws `seasons` with 30 training images a side, trains with the settings that the
preset `auto` chooses for a processor, for the same number of steps with and without augmentation, and measures the
translations of the 32 test scenes against their truth, and how much surer the discriminators are of the images they
learned from than of others. It prints the table of ``docs/data.md``. Started again, it goes on where it was.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cyclegan import Config, Translator, train
from cyclegan.cli.progress import TerminalDisplay, hush
from cyclegan.data.get import seasons
from cyclegan.data.layouts import SplitFiles, find_domains, paired_by_name
from cyclegan.evaluation.ground_truth import measure_pairs
from cyclegan.imaging.decode import read_image
from cyclegan.imaging.image import to_tensor
from cyclegan.methods.registry import build_method
from cyclegan.runs.folder import read_run
from cyclegan.runs.metrics_files import read_metrics
from cyclegan.runs.model import read_model
from cyclegan.training.setup import Environment, automatic
from results import measure_missing, run_program, spread

IMAGES = 30  # of each domain to train on
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "off": ("none", {}),
    "all": ("DiffAugment: color, translation, cutout", {"augment": "diffaugment"}),
    "places": (
        "DiffAugment: translation, cutout",
        {"augment": "diffaugment", "augment_policy": "translation,cutout"},
    ),
    "ada": ("ADA: color, translation, cutout", {"augment": "ada", "ada_images": 1000}),
}


@dataclass(frozen=True)
class Result:
    """A training: PSNR (dB) into winter and into summer, the discriminators' surplus on images they know, and p."""

    variant: str
    seed: int
    steps: int
    winter: float
    summer: float
    surplus: float
    p: float


def measured(folder: Path, variant: str, seed: int, steps: int) -> Result:
    """Train and measure."""
    settings, _ = automatic(Environment(image_size=64, gpu_memory=None), "cyclegan")
    settings |= {"max_minutes": None, "max_steps": steps, "seed": seed, "sample_every": steps, "tensorboard": False}
    settings |= {"data": folder / "seasons", "runs": folder / "runs", "device": "cpu"}
    run = train(Config().with_settings(**(settings | VARIANTS[variant][1])), monitors=[TerminalDisplay()])
    files = find_domains(folder / "seasons")
    pairs = paired_by_name(files.test)
    winter = measure_pairs(Translator.load(run, "AtoB", "cpu"), pairs)[0]["psnr"].value
    summer = measure_pairs(Translator.load(run, "BtoA", "cpu"), [(b, a) for a, b in pairs])[0]["psnr"].value
    return Result(variant, seed, steps, winter, summer, *judged(run, files.train, files.test))


def judged(run: Path, known: SplitFiles, unknown: SplitFiles) -> tuple[float, float]:
    """Mean D(known) - D(unknown) over both discriminators, unaugmented, and the mean p of ADA (0 without)."""
    method = build_method(read_run(run), 0).eval()
    method.load_state_dict(read_model(run).weights, strict=False)  # without ADA's probabilities
    surplus = []
    with torch.inference_mode():
        for name, side in (("D_X", "a"), ("D_Y", "b")):
            sure = [
                method.discriminators[name](torch.stack([to_tensor(read_image(f)) for f in getattr(each, side)])).mean()
                for each in (known, unknown)
            ]
            surplus.append(float(sure[0] - sure[1]))
    chances = [column[-1] for name, column in read_metrics(run / "metrics.csv").items() if name.startswith("p_D")]
    return statistics.mean(surplus), statistics.mean(chances or [0.0])


def table(results: Sequence[Result]) -> str:
    """A row a variant, means over the seeds, least and largest in brackets."""
    rows = [["augmentation", "summer → winter, PSNR in dB", "winter → summer", "D(known) − D(unknown)", "p at the end"]]
    rows.append(["---"] * 5)
    for name, (words, _) in VARIANTS.items():
        if mine := [r for r in results if r.variant == name]:
            columns = [[getattr(r, c) for r in mine] for c in ("winter", "summer", "surplus", "p")]
            rows.append([words, *(spread(values, d) for values, d in zip(columns, (1, 1, 2, 2), strict=True))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Train what has no result yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="budget of each training")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1], help="each variant is trained with each of them"
    )
    parser.add_argument("--folder", type=Path, default=Path("outputs/augmentation"), help="data, runs and results")
    options = parser.parse_args()
    hush()
    file = options.folder / "results.jsonl"
    if not (options.folder / "seasons").exists():
        seasons.write_seasons(options.folder / "seasons", train=IMAGES)

    def measure(variant: str, seed: int) -> Result:
        return measured(options.folder, variant, seed, options.steps)

    chosen = measure_missing(file, Result, VARIANTS, options.seeds, options.steps, measure)
    print(table(chosen))


if __name__ == "__main__":
    run_program(main)
