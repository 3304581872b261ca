"""Does discriminator augmentation help with 30 training images per domain?

``python benchmarks/augmentation.py`` draws `seasons` with 30 training images per domain and trains with and without
augmentation, with the settings of the preset `auto` for a CPU and the same number of steps. It evaluates translations
of the 32 test scenes against ground truth, and the gap between discriminator outputs for training and test images. It
prints the table of ``docs/data.md``. It can be stopped at any time; the next start continues.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cyclegan import Translator, train
from cyclegan.config.presets import Environment
from cyclegan.config.resolve import resolve
from cyclegan.data.get import seasons
from cyclegan.data.layouts import SplitFiles, find_domains, paired_by_name
from cyclegan.evaluation.measure import measure_pairs
from cyclegan.imaging.decode import read_image
from cyclegan.imaging.image import to_tensor
from cyclegan.methods.method import build_method
from cyclegan.methods.registry import method_spec
from cyclegan.runs.folder import read_run
from cyclegan.runs.metrics_files import read_metrics
from cyclegan.runs.model import read_model
from results import measure_missing, run_program, spread

IMAGES = 30  # per domain for training
JITTERS = ("color_jitter_a", "color_jitter_b")
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "off": ("none", {}),
    "all": ("DiffAugment: color, translation, cutout", {"augment": "diffaugment"}),
    "places": (
        "DiffAugment: translation, cutout",
        {"augment": "diffaugment", "augment_policy": ("translation", "cutout")},
    ),
    "jitter": ("scale ± 20 %, colors of both ± 10 %", {"scale_jitter": 0.2} | dict.fromkeys(JITTERS, 0.1)),
    "ada": ("ADA: color, translation, cutout", {"augment": "ada", "ada_images": 1000}),
}


@dataclass(frozen=True)
class Result:
    """A run: PSNR (dB) to winter and to summer, the discriminators' gap between training and test images, and p."""

    variant: str
    seed: int
    steps: int
    winter: float
    summer: float
    surplus: float
    p: float


def measured(folder: Path, variant: str, seed: int, steps: int) -> Result:
    """Train and evaluate a variant."""
    settings: dict[str, Any] = {"max_steps": steps, "seed": seed, "sample_every": steps, "logger": ()}
    settings |= {"data": folder / "seasons", "runs": folder / "runs", "device": "cpu", "generator": "resnet"}
    settings |= VARIANTS[variant][1]
    config = resolve("auto", method_spec("cyclegan"), settings, environment=Environment(64, gpu_memory=None))
    run = train(config)
    files = find_domains(folder / "seasons")
    pairs = paired_by_name(files.test)
    winter = measure_pairs(Translator.load(run, "AtoB", "cpu"), pairs)[0]["psnr"].value
    summer = measure_pairs(Translator.load(run, "BtoA", "cpu"), [(b, a) for a, b in pairs])[0]["psnr"].value
    return Result(variant, seed, steps, winter, summer, *discriminator_gap(run, files.train, files.test))


def discriminator_gap(run: Path, known: SplitFiles, unknown: SplitFiles) -> tuple[float, float]:
    """Mean D(known) - D(unknown) over both discriminators without augmentation, and the mean p of ADA (0 without)."""
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
    """A row per variant: means over the seeds, with minimum and maximum in parentheses."""
    rows = [["augmentation", "summer → winter, PSNR in dB", "winter → summer", "D(known) − D(unknown)", "p at the end"]]
    rows.append(["---"] * 5)
    for name, (words, _) in VARIANTS.items():
        if mine := [r for r in results if r.variant == name]:
            columns = [[getattr(r, c) for r in mine] for c in ("winter", "summer", "surplus", "p")]
            rows.append([words, *(spread(values, d) for values, d in zip(columns, (1, 1, 2, 2), strict=True))])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Train the variants without a result, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000, help="steps per run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="seeds for each variant")
    parser.add_argument("--folder", type=Path, default=Path("outputs/augmentation"), help="data, runs and results")
    options = parser.parse_args()
    file = options.folder / "results.jsonl"
    if not (options.folder / "seasons").exists():
        seasons.write_seasons(options.folder / "seasons", train=IMAGES)

    def measure(variant: str, seed: int) -> Result:
        return measured(options.folder, variant, seed, options.steps)

    chosen = measure_missing(file, Result, VARIANTS, options.seeds, options.steps, measure)
    print(table(chosen))


if __name__ == "__main__":
    run_program(main)
