"""Compare training recipes for equal minutes on several data sets, with seeds and the scores of doing nothing.

    python benchmarks/recipes.py                                          # the built-in sets, 5 minutes, three seeds
    python benchmarks/recipes.py horse2zebra facades --sets --minutes 30  # data folders of yours only
    python benchmarks/recipes.py --quick                                  # one seed, two recipes, two minutes

Each run is trained and measured once and its result stored, so a stopped benchmark continues. The table is written
into docs/recipes.md. Let nothing else run meanwhile: slower steps are fewer steps.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cyclegan.data.get import seasons
from cyclegan.data.layouts import find_domains
from cyclegan.imaging.decode import image_size
from results import run_program
from runs import Trial, draw_sets, measure_all, options_of, table, write_table

DOCS = Path(__file__).parents[1] / "docs" / "recipes.md"
RECIPES: dict[str, dict[str, Any]] = {
    "auto": {},
    "auto, ResNet": {"generator": "resnet"},  # what auto chose before
    "paper": {"preset": "paper"},  # at the size of the images
}
METRICS = ("psnr", "ssim", "kd_efficientnet", "swd", "gradient_energy", "nyquist_ratio", "edge_agreement")
MAX_SIZE = 128  # of training images with the preset paper, as with auto


def write_closer(to: Path) -> None:
    """The built-in set with winter at one and a half times the scale, so that the domains differ in framing."""
    seasons.write_seasons(to)
    for file in sorted(to.glob("*B/*.png")):
        image = seasons.draw_scene(int(file.stem), "winter", 96).crop((16, 28, 80, 92))
        image.save(file.with_name(f"closer-{file.name}"))  # another name, since the scale differs: no ground truth
        file.unlink()


SETS: dict[str, Callable[[Path], object]] = {
    "seasons": seasons.write_seasons,
    "seasons-128": partial(seasons.write_seasons, size=128),
    "seasons-30": partial(seasons.write_seasons, train=30),
    "seasons-closer": write_closer,
}


def trial(data: Path, recipe: str) -> Trial:
    """A recipe on a data folder; that of the paper takes images at their own size."""
    size = {"crop_size": min(MAX_SIZE, *image_size(find_domains(data).train.a[0]))} if recipe == "paper" else {}
    return Trial(data, recipe, RECIPES[recipe] | size)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what has no result yet, then write the table."""
    parser = options_of(__doc__, "outputs/recipes", minutes=5.0)
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS), help="built-in sets, drawn here")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES), choices=list(RECIPES))
    parser.add_argument("--quick", action="store_true", help="auto before and now, one seed, two minutes")
    options = parser.parse_args(arguments)
    if options.quick:
        options.minutes, options.seeds, options.recipes = 2.0, [0], ["auto", "auto, ResNet"]
    draw_sets(options.folder, {name: SETS[name] for name in options.sets})
    data = [*(options.folder / name for name in options.sets), *options.data]
    trials = [trial(images, recipe) for images in data for recipe in options.recipes]
    chosen = measure_all(options.folder, trials, options.seeds, options.minutes)
    write_table(DOCS, "recipes", table(chosen, METRICS))


if __name__ == "__main__":
    run_program(main)
