"""Compare training recipes for equal minutes on several data sets, with seeds and the scores of doing nothing.

    python benchmarks/recipes.py                                          # the built-in sets, 5 minutes, three seeds
    python benchmarks/recipes.py horse2zebra facades --sets --minutes 30  # data folders of yours only
    python benchmarks/recipes.py --quick                                  # one seed, two recipes, two minutes

Each run is trained and measured once and its result stored, so a stopped benchmark continues. The table is written
into docs/recipes.md. Let nothing else run meanwhile: slower steps are fewer steps.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from cyclegan import configure, evaluate, train
from cyclegan.data.get import seasons
from cyclegan.data.layouts import find_domains
from cyclegan.imaging.decode import image_size
from results import read_results, run_program, spread

DOCS = Path(__file__).parents[1] / "docs" / "recipes.md"
RECIPES: dict[str, dict[str, Any]] = {
    "auto": {},
    "auto, ResNet": {"generator": "resnet"},  # what auto chose before
    "paper": {"preset": "paper"},  # at the size of the images
}
METRICS = {
    "psnr": ("PSNR in dB", 2),
    "ssim": ("SSIM", 3),
    "kd_efficientnet": ("KD", 3),
    "swd": ("SWD", 0),
    "gradient_energy": ("gradient energy", 0),
    "nyquist_ratio": ("Nyquist ratio", 2),
    "edge_agreement": ("edge agreement", 3),
}
MAX_SIZE = 128  # of training images with the preset paper, as with auto


def write_closer(to: Path) -> None:
    """The built-in set with winter at one and a half times the scale, so that the domains differ in framing."""
    seasons.write_seasons(to)
    for file in sorted(to.glob("*B/*.png")):
        image = seasons.draw_scene(int(file.stem), "winter", 96).crop((16, 28, 80, 92))
        image.save(file.with_name(f"closer-{file.name}"))  # another name: there is no ground truth
        file.unlink()


SETS: dict[str, Callable[[Path], None]] = {
    "seasons": seasons.write_seasons,
    "seasons-128": partial(seasons.write_seasons, size=128),
    "seasons-30": partial(seasons.write_seasons, train=30),
    "seasons-closer": write_closer,
}


@dataclass(frozen=True)
class Result:
    """One trained recipe: metrics by direction, of its translations, of untranslated and of real images."""

    data: str
    recipe: str
    seed: int
    minutes: float
    steps: int
    translated: dict[str, dict[str, float]]
    untranslated: dict[str, dict[str, float]]
    real: dict[str, dict[str, float]]


def measure(folder: Path, data: Path, recipe: str, own: dict[str, Any], seed: int, minutes: float) -> Result:
    """Train a recipe with its `own` settings in a new run folder and evaluate its directions on the test images."""
    settings: dict[str, Any] = {"data": data, "runs": folder / "runs", "seed": seed, "max_minutes": minutes}
    settings |= {"name": f"{data.name}-{recipe.replace(', ', '-')}-{minutes:g}min-seed{seed}"} | own
    if recipe == "paper":
        settings["crop_size"] = min(MAX_SIZE, *image_size(find_domains(data).train.a[0]))
    run = train(configure(**settings, device="cpu", logger=(), sample_every=10**6))
    evaluations = {each.direction: each for each in evaluate(run, device="cpu")}
    values: dict[str, dict[str, dict[str, float]]] = {}
    for kind in ("value", "untranslated", "real"):
        values[kind] = {
            str(direction): {n: getattr(each.metrics[n], kind) for n in METRICS if n in each.metrics}
            for direction, each in evaluations.items()
        }
    steps = next(iter(evaluations.values())).step or 0
    return Result(data.name, recipe, seed, minutes, steps, values["value"], values["untranslated"], values["real"])


def table(results: Sequence[Result]) -> str:
    """The results as Markdown: a row for each data set and recipe, A → B / B → A in each cell, means over the seeds."""
    rows = [
        ["data", "recipe", "minutes", "steps", *(title for title, _ in METRICS.values()), "seeds"],
        ["---"] * (5 + len(METRICS)),
    ]
    for data in dict.fromkeys(r.data for r in results):
        mine = [r for r in results if r.data == data]
        rows.append([data, "untranslated", "", "", *_cells([r.untranslated for r in mine[:1]]), ""])
        rows.append([data, "real images", "", "", *_cells([r.real for r in mine[:1]]), ""])
        for recipe in dict.fromkeys(r.recipe for r in mine):
            runs = [r for r in mine if r.recipe == recipe]
            steps = f"{sum(r.steps for r in runs) / len(runs):,.0f}"
            rows.append(
                [data, recipe, f"{runs[0].minutes:g}", steps, *_cells([r.translated for r in runs]), f"{len(runs)}"]
            )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cells(runs: Sequence[dict[str, dict[str, float]]]) -> list[str]:
    cells = []
    for name, (_, digits) in METRICS.items():
        of_runs = [[r.get(d, {}).get(name) for r in runs] for d in ("AtoB", "BtoA")]  # some learn one direction
        found = [[value for value in values if value is not None] for values in of_runs]
        cells.append(" / ".join(spread(values, digits) for values in found if values))
    return cells


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what has no result yet, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="*", help="data folders, in addition to the built-in sets")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS), help="built-in sets, drawn here")
    parser.add_argument("--minutes", type=float, default=5.0, help="minutes of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds for each recipe")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--quick", action="store_true", help="auto before and now, one seed, two minutes")
    parser.add_argument("--folder", type=Path, default=Path("outputs/recipes"), help="built-in data, runs and results")
    options = parser.parse_args(arguments)
    if options.quick:
        options.minutes, options.seeds, options.recipes = 2.0, [0], ["auto", "auto, ResNet"]
    for name in options.sets:
        if not (options.folder / name).exists():
            SETS[name](options.folder / name)
    recipes = {name: RECIPES[name] for name in options.recipes}
    data = [*(options.folder / name for name in options.sets), *options.data]
    chosen = measure_all(options.folder, data, recipes, options.seeds, options.minutes)
    write_table(DOCS, "recipes", table(chosen))


def measure_all(
    folder: Path, data: Sequence[Path], recipes: dict[str, dict[str, Any]], seeds: Sequence[int], minutes: float
) -> list[Result]:
    """The result of each data set, seed and recipe, trained now where it is not stored in `folder`."""
    file, chosen = folder / "results.jsonl", []
    for images, seed, (recipe, own) in product(data, seeds, recipes.items()):
        key = (images.name, recipe, seed, minutes)
        done = [r for r in read_results(file, Result) if (r.data, r.recipe, r.seed, r.minutes) == key]
        if not done:
            done = [measure(folder, images, recipe, own, seed, minutes)]
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(asdict(done[0])) + "\n")
        chosen += done
    return chosen


def write_table(page: Path, name: str, rows: str) -> None:
    """Replace the rows between two comments of a page, and print them."""
    text, begin, end = page.read_text("utf-8"), f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    page.write_text(f"{text.split(begin)[0]}{begin}\n{rows}\n{end}{text.split(end)[1]}", encoding="utf-8")
    print(f"{rows}\nWritten to {page}")


if __name__ == "__main__":
    run_program(main)
