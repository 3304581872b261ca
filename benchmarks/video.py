"""How much `--smooth` reduces flicker, and how much overlapping reads and writes speed up folders.

``python benchmarks/video.py RUN`` needs a trained run, such as the demo's. Flicker is the mean change between frames,
in 8-bit levels, in the lower half of a static landscape with a white object crossing its sky; once without and once
with noise of 4 levels.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cyclegan import Translator
from cyclegan.data.get import seasons
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.encode import write_pixels
from cyclegan.translation import files
from cyclegan.translation.temporal import with_temporal_smoothing
from results import run_program

SIDE, FRAMES, SETTLED = 128, 40, 8
IMAGES, SIZE, ROUNDS = 12, 256, 3
Frame = np.ndarray[Any, np.dtype[np.uint8]]


def clip(noise: float) -> Iterator[Frame]:
    """The frames."""
    draw = np.random.default_rng(0)
    ground = np.asarray(seasons.draw_scene(100_001, "summer", SIDE), np.float64)
    for number in range(FRAMES):
        frame, right = ground.copy(), number * SIDE // FRAMES
        frame[8:40, max(0, right - 24) : right] = 255
        yield (frame + draw.normal(0, noise, frame.shape)).clip(0, 255).astype(np.uint8)


def flicker(translator: Translator, noise: float) -> float:
    """Mean absolute change of the lower half between frames, after the first ones."""
    made = [translator.translate(frame)[SIDE // 2 :].astype(np.float64) for frame in clip(noise)]
    return float(np.mean([np.abs(a - b).mean() for a, b in pairwise(made[SETTLED:])]))


def overlap(translator: Translator) -> float:
    """Time of a folder with `translate`, relative to one image after another; median of rounds."""
    ratios = []
    with tempfile.TemporaryDirectory() as temporary:
        root, draw = Path(temporary), np.random.default_rng(0)
        (root / "in").mkdir()
        for number in range(IMAGES):
            coarse = Image.fromarray(draw.integers(0, 255, (60, 80, 3), dtype=np.uint8))
            coarse.resize((1600, 1200), Image.Resampling.BICUBIC).save(root / "in" / f"{number}.png")
        translator.translate(read_pixels(root / "in" / "0.png"), SIZE)
        found = files.find([root / "in"])
        for number in range(ROUNDS):
            start = time.perf_counter()
            for job in files.plan(found, root / f"apart{number}"):
                write_pixels(translator.translate(read_pixels(job.source), SIZE), job.target)
            between = time.perf_counter()
            list(files.translate(translator, files.plan(found, root / f"together{number}"), size=SIZE))
            ratios.append((time.perf_counter() - between) / (between - start))
    return float(np.median(ratios))


def main() -> None:
    """Measure and print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    translator = Translator.load(parser.parse_args().run, device="cpu")
    for noise in (0, 4):
        damped = ", ".join(
            f"{flicker(with_temporal_smoothing(translator, s), noise):.2f} with {s}" for s in (0.5, 0.9, 0.97)
        )
        print(f"Flicker with noise {noise}: {flicker(translator, noise):.2f} without smoothing, {damped}")
    print(f"A folder of {IMAGES} images of 1600x1200 to {SIZE}: {overlap(translator):.2f} of the time without overlap")


if __name__ == "__main__":
    run_program(main)
