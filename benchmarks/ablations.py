"""Ablation of CycleGAN's objective on the built-in data set: each variant leaves out one part.

``python benchmarks/ablations.py`` trains every variant with the settings of the preset `auto` for a ResNet on a CPU,
the same seeds and the same number of steps, and evaluates it on the 32 test scenes, for which ground truth exists. It
writes the table and the figure of ``docs/from-gan-to-cyclegan.md``. It can be stopped at any time; the next start
continues.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from cyclegan import Translator, resume, train
from cyclegan.config.presets import Environment
from cyclegan.config.resolve import resolve
from cyclegan.config.schema import Direction
from cyclegan.data.get import seasons
from cyclegan.data.layouts import find_domains, paired_by_name
from cyclegan.evaluation.measure import measure_pairs
from cyclegan.imaging.decode import read_image
from cyclegan.imaging.image import to_tensor
from cyclegan.methods.registry import method_spec
from cyclegan.runs import checkpoint
from cyclegan.runs.sample_grids import sample_grid
from results import measure_missing, run_program, spread

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- ablations: begin -->", "<!-- ablations: end -->"
DIRECTIONS: dict[Direction, str] = {"AtoB": "summer → winter", "BtoA": "winter → summer"}
SHOWN = (0, 10, 20)  # test scenes in the figure

# The identity loss is relative to the weight of the cycle loss [C 5.2], so a weight of 0 would disable both. To keep
# its usual 0.5 x 10 without the cycle loss, the cycle's weight is made negligible.
NEGLIGIBLE = 1e-6
NO_CYCLE = {"lambda_a": NEGLIGIBLE, "lambda_b": NEGLIGIBLE, "lambda_identity": 0.5 * 10 / NEGLIGIBLE}


@dataclass(frozen=True)
class Variant:
    """What is left out: as text, as a short heading for the figure, and as settings."""

    name: str
    short: str
    settings: dict[str, Any]


VARIANTS = {
    "full": Variant("full objective", "full", {}),
    "no-identity": Variant("without identity loss", "no identity", {"lambda_identity": 0.0}),
    "no-cycle": Variant("without cycle loss", "no cycle", NO_CYCLE),
    "neither": Variant(
        "without cycle and identity loss",
        "only adversary",
        {"lambda_a": 0.0, "lambda_b": 0.0, "lambda_identity": 0.0},
    ),
    "no-adversary": Variant("without adversarial loss", "no adversary", {"lambda_gan": 0.0}),
    "log-loss": Variant("log loss instead of least squares", "log loss", {"objective": "vanilla"}),
    "no-history": Variant("without history", "no history", {"pool_size": 0}),
}


@dataclass(frozen=True)
class Result:
    """One trained variant: PSNR in dB and SSIM against ground truth by direction, means over the test scenes."""

    variant: str
    seed: int
    steps: int
    minutes: float
    translated: dict[str, tuple[float, float]]
    untranslated: dict[str, tuple[float, float]]  # the same for the unchanged inputs


def run_folder(folder: Path, variant: str, seed: int, steps: int) -> Path:
    """The run folder of a variant."""
    return folder / "runs" / f"{variant}-seed{seed}-steps{steps}"


def train_variant(folder: Path, variant: str, seed: int, steps: int) -> Path:
    """Train a variant, or resume it, and return its run folder."""
    run = run_folder(folder, variant, seed, steps)
    if run.exists():
        return resume(run)
    settings: dict[str, Any] = {"max_steps": steps, "seed": seed, "sample_every": steps, "logger": ()}
    settings |= {"data": folder / "seasons", "runs": run.parent, "name": run.name, "device": "cpu"}
    settings["generator"] = "resnet"  # the paper's architecture
    settings |= VARIANTS[variant].settings
    config = resolve("auto", method_spec("cyclegan"), settings, environment=Environment(64, gpu_memory=None))
    return train(config)


def evaluate_variant(folder: Path, variant: str, seed: int, steps: int) -> Result:
    """Train a variant and evaluate its translations of the test scenes against ground truth."""
    run = train_variant(folder, variant, seed, steps)
    latest = checkpoint.latest_checkpoint(run)
    assert latest is not None, "a finished run has a checkpoint"
    pairs = paired_by_name(find_domains(folder / "seasons").test)
    quality = {
        "AtoB": measure_pairs(Translator.load(run, "AtoB", "cpu"), pairs)[0],
        "BtoA": measure_pairs(Translator.load(run, "BtoA", "cpu"), [(b, a) for a, b in pairs])[0],
    }
    minutes = json.loads((latest / "state.json").read_text(encoding="utf-8"))["minutes"]
    translated = {d: (q["psnr"].value, q["ssim"].value) for d, q in quality.items()}
    untranslated = {d: (q["psnr"].untranslated or 0.0, q["ssim"].untranslated or 0.0) for d, q in quality.items()}
    return Result(variant, seed, steps, minutes, translated, untranslated)


def table(results: Sequence[Result]) -> str:
    """The results as Markdown: a row per variant, means over the seeds, and a row for the untranslated inputs."""
    headings = [f"{direction}, {metric}" for direction in DIRECTIONS.values() for metric in ("PSNR in dB", "SSIM")]
    rows = [["objective", *headings, "steps", "minutes", "seeds"], ["---"] * 8]
    for name, variant in VARIANTS.items():
        if mine := [r for r in results if r.variant == name]:
            steps, minutes = str(mine[0].steps), f"{statistics.mean(r.minutes for r in mine):.1f}"
            seeds = ", ".join(str(r.seed) for r in mine)
            rows.append([variant.name, *_spreads([r.translated for r in mine]), steps, minutes, seeds])
    rows.append(["untranslated input", *_spreads([results[0].untranslated]), "", "", ""])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _spreads(qualities: Sequence[dict[str, tuple[float, float]]]) -> list[str]:
    return [spread([q[d][i] for q in qualities], digits) for d in DIRECTIONS for i, digits in ((0, 1), (1, 2))]


def draw_figure(folder: Path, seed: int, steps: int) -> Image.Image:
    """Three test summers translated by every variant, between input and ground truth."""
    pairs = paired_by_name(find_domains(folder / "seasons").test)
    summers, winters = (torch.stack([to_tensor(read_image(pairs[i][side])) for i in SHOWN]) for side in (0, 1))
    made = {
        variant.short: Translator.load(run_folder(folder, name, seed, steps), "AtoB", "cpu").translate(summers)
        for name, variant in VARIANTS.items()
    }
    return sample_grid({"summer": summers, **made, "true winter": winters})


def between_markers(page: str, content: str) -> str:
    """The page with the text between its two markers replaced."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the variants without a result, then write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=700, help="steps per run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="seeds for each variant")
    parser.add_argument("--folder", type=Path, default=Path("outputs/ablations"), help="data, runs and results")
    options = parser.parse_args(arguments)
    file = options.folder / "results.jsonl"
    if not (options.folder / "seasons").exists():
        seasons.write_seasons(options.folder / "seasons")

    def measure(variant: str, seed: int) -> Result:
        return evaluate_variant(options.folder, variant, seed, options.steps)

    chosen = measure_missing(file, Result, VARIANTS, options.seeds, options.steps, measure)
    draw_figure(options.folder, options.seeds[0], options.steps).save(DOCS / "ablations.png", optimize=True)
    content = f"{table(chosen)}\n\n![Three test scenes, translated by each variant](ablations.png)"
    page = DOCS / "from-gan-to-cyclegan.md"
    page.write_text(between_markers(page.read_text("utf-8"), content), encoding="utf-8")
    print(f"{table(chosen)}\nWritten to {page} and {DOCS / 'ablations.png'}")


if __name__ == "__main__":
    run_program(main)
