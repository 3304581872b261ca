"""The pictures of the README, by `make picture` after `make demo`.

``docs/seasons.jpg``: scenes of the built-in data set in both seasons, drawn large. ``docs/demo.png``: what the demo's
run makes of six test scenes at the size it was trained on, between input and truth.
"""

import sys
from pathlib import Path

from PIL import Image

from cyclegan import Translator
from cyclegan.data.get import seasons
from cyclegan.imaging.decode import to_tensor
from cyclegan.runs.sample_grids import sample_grid

HERE = Path(__file__).parent
CELL, GAP = 300, 6
DRAWN = [seasons.FIRST_TEST_SEED + n for n in (2, 3, 1)]
TRANSLATED = [seasons.FIRST_TEST_SEED + n for n in range(0, 30, 5)]  # as they come
SIZE = 64


def draw_seasons() -> Image.Image:
    """Summers above winters."""
    sheet = Image.new("RGB", (len(DRAWN) * (CELL + GAP) - GAP, 2 * CELL + GAP), "white")
    for column, seed in enumerate(DRAWN):
        for row, season in enumerate(("summer", "winter")):
            scene = seasons.draw(seed, season, CELL)  # type: ignore[arg-type]
            sheet.paste(scene, (column * (CELL + GAP), row * (CELL + GAP)))
    return sheet


def draw_demo(run: Path) -> Image.Image:
    """Both directions: input, translation, truth."""
    import torch

    scenes = {s: [seasons.draw(seed, s, SIZE) for seed in TRANSLATED] for s in ("summer", "winter")}  # type: ignore[arg-type]
    made = {
        "winter": Translator.load(run, "AtoB").translate(scenes["summer"]),
        "summer": Translator.load(run, "BtoA").translate(scenes["winter"]),
    }
    columns = {
        "summer": scenes["summer"],
        "translated": made["winter"],
        "true winter": scenes["winter"],
        "winter": scenes["winter"],
        "translated ": made["summer"],
        "true summer": scenes["summer"],
    }
    return sample_grid({heading: torch.stack([to_tensor(i) for i in images]) for heading, images in columns.items()})


if __name__ == "__main__":
    draw_seasons().save(HERE / "seasons.jpg", quality=90)
    draw_demo(Path(sys.argv[1])).save(HERE / "demo.png", optimize=True)
