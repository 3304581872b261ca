"""Draw the figures of the README and the documentation (`make figures`, after `make demo`).

``docs/seasons.jpg`` shows scenes of the built-in data set in both seasons; ``docs/demo.png`` shows six test scenes,
their translations by the demo's run, and ground truth.
"""

import sys
from pathlib import Path

import torch
from PIL import Image

from cyclegan import Translator
from cyclegan.data.get.seasons import FIRST_TEST_SEED, Season, draw_scene
from cyclegan.imaging.image import to_tensor
from cyclegan.runs.sample_grids import sample_grid

DOCS = Path(__file__).parent
CELL, GAP = 300, 6  # pixels
LARGE_SEEDS = [FIRST_TEST_SEED + n for n in (2, 3, 1)]
DEMO_SEEDS = [FIRST_TEST_SEED + n for n in range(0, 30, 5)]
DEMO_SIZE = 64  # pixels, as in training
SEASONS: tuple[Season, Season] = ("summer", "winter")


def draw_seasons() -> Image.Image:
    """Three scenes, summer above winter."""
    sheet = Image.new("RGB", (len(LARGE_SEEDS) * (CELL + GAP) - GAP, 2 * CELL + GAP), "white")
    for column, seed in enumerate(LARGE_SEEDS):
        for row, season in enumerate(SEASONS):
            scene = draw_scene(seed, season, CELL)
            sheet.paste(scene, (column * (CELL + GAP), row * (CELL + GAP)))
    return sheet


def draw_demo(run: Path) -> Image.Image:
    """Input, translation and ground truth in both directions."""
    scenes = {season: [draw_scene(seed, season, DEMO_SIZE) for seed in DEMO_SEEDS] for season in SEASONS}
    columns = {
        "summer": scenes["summer"],
        "translated": Translator.load(run, "AtoB").translate(scenes["summer"]),
        "true winter": scenes["winter"],
        "winter": scenes["winter"],
        "translated ": Translator.load(run, "BtoA").translate(scenes["winter"]),
        "true summer": scenes["summer"],
    }
    return sample_grid({heading: torch.stack([to_tensor(i) for i in images]) for heading, images in columns.items()})


if __name__ == "__main__":
    draw_seasons().save(DOCS / "seasons.jpg", quality=90)
    draw_demo(Path(sys.argv[1])).save(DOCS / "demo.png", optimize=True)
