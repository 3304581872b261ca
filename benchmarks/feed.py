"""Data loading throughput in images per second and core: textbook pipeline, and ours without and with a cache.

``python benchmarks/feed.py`` writes photo-like files to a temporary folder and loads them with each pipeline in turn,
in one process, through a DataLoader. It measures CPU time, so that other load on the machine matters little. Training
with the paper's settings needs 80 images per second on a GPU that does 40 steps per second.
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import DataLoader, Dataset

from cyclegan.data.cache import ArrayCache, open_cache
from cyclegan.data.datasets import Batches, UnpairedImages, make_loader
from cyclegan.data.layouts import SplitFiles
from cyclegan.data.preprocessing import load_resized
from cyclegan.imaging.image import COLOR
from cyclegan.training.setup import configure

KINDS = {
    "JPEG 256x256": (256, 256, "jpg"),
    "PNG 256x256": (256, 256, "png"),
    "JPEG 1500x1000": (1500, 1000, "jpg"),
    "PNG 1500x1000": (1500, 1000, "png"),
    "JPEG 4000x3000": (4000, 3000, "jpg"),
}
NEED = 80  # images per second: 40 steps with one image of each domain
PIPELINES = ("textbook", "no cache", "draft", "cold", "memory", "disk")
Feed = Iterator[dict[str, Any]]


def draw(folder: Path, number: int, width: int, height: int, suffix: str) -> Path:
    """An image with colors at many scales and sensor noise."""
    draw = np.random.default_rng(number)
    values = draw.normal(0, 5, (height, width, 3)).astype(np.float32)
    for side in (4, 8, 16, 32, 64, 128):
        small = Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=np.uint8))
        values += np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float32) * 0.22
    path = folder / f"{number:04d}.{suffix}"
    Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(path, quality=90)
    return path


class Textbook(Dataset[dict[str, torch.Tensor]]):
    """Data loading as in tutorials: open, resize, crop, flip, normalize."""

    def __init__(self, a: tuple[Path, ...], b: tuple[Path, ...]):
        self.a, self.b = a, b

    def __len__(self) -> int:
        return len(self.a)

    def __getitem__(self, number: int) -> dict[str, torch.Tensor]:
        return {"A": self.load(self.a[number]), "B": self.load(random.choice(self.b))}

    def load(self, path: Path) -> torch.Tensor:
        """Decode and preprocess one image."""
        image = Image.open(path).convert("RGB").resize((286, 286), Image.Resampling.BICUBIC)
        left, top = random.randint(0, 30), random.randint(0, 30)
        image = image.crop((left, top, left + 256, top + 256))
        image = ImageOps.mirror(image) if random.random() < 0.5 else image
        tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)
        return (tensor - 0.5) / 0.5


@contextmanager
def feeds(files: tuple[Path, ...]) -> Iterator[dict[str, Callable[[], Feed]]]:
    """Functions that start each pipeline over all images once; the caches of the last two are warm."""
    a, b = files[::2], files[1::2]

    def ours(cache: ArrayCache | None = None, draft: bool = False) -> Feed:
        config = configure("paper", workers=0, serial_batches=True, draft=draft).data
        dataset = UnpairedImages(SplitFiles(a, b), config, 0, cache)
        return iter(make_loader(dataset, Batches(len(dataset), config.batch_size)))

    def textbook() -> Feed:
        return iter(DataLoader(Textbook(a, b), batch_size=1, shuffle=True))

    def cold() -> Feed:
        with open_cache("memory", 2**31, f"cold {time.time_ns()}") as cache:
            yield from ours(cache)

    with open_cache("memory", 2**31, f"warm {time.time_ns()}") as memory, open_cache("disk", 2**31, "") as disk:
        for cache in (memory, disk):
            take(ours(cache), len(a))
        yield {
            "textbook": textbook,
            "no cache": ours,
            "draft": lambda: ours(draft=True),
            "cold": cold,
            "memory": lambda: ours(memory),
            "disk": lambda: ours(disk),
        }


def take(feed: Feed, steps: int) -> None:
    for _ in range(steps):
        next(feed)


def rates(pipelines: dict[str, Callable[[], Feed]], steps: int, rounds: int) -> dict[str, list[float]]:
    """Images per second of each pipeline in each round, interleaved so that load on the machine affects all equally."""
    found: dict[str, list[float]] = {name: [] for name in pipelines}
    for _ in range(rounds):
        for name, begin in pipelines.items():
            start = time.process_time()
            take(begin(), steps)
            found[name].append(2 * steps / (time.process_time() - start))
    return found


def drafts_difference(files: tuple[Path, ...]) -> str:
    """Difference of preprocessed images with and without draft decoding, in 8-bit levels."""
    whole, draft = (configure("paper", draft=each).data for each in (False, True))
    differences = [np.abs(load_resized(f, COLOR, draft).astype(int) - load_resized(f, COLOR, whole)) for f in files[:8]]
    return f"{np.mean(differences):.2f} on average, {np.max(differences)} at most"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=48, help="images of each kind")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"Images per second and core, in parentheses relative to textbook (medians of {options.rounds} rounds)")
    print(f"{'':15s}" + "".join(f"{pipeline:>17s}" for pipeline in PIPELINES))
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as name:
            os.environ["XDG_CACHE_HOME"] = name
            files = tuple(draw(Path(name), number, *KINDS[kind]) for number in range(options.images))
            with feeds(files) as pipelines:
                differing = drafts_difference(files)
                found = rates(pipelines, len(files) // 2, options.rounds)
        print(f"{kind:15s}", end="")
        for pipeline in PIPELINES:
            ratio = statistics.median(
                own / other for own, other in zip(found[pipeline], found["textbook"], strict=True)
            )
            print(f"{statistics.median(found[pipeline]):7.0f} ({ratio:6.2f}x)", end="", flush=True)
        print(f"  difference with draft: {differing}")
    print(f"The paper's settings need {NEED} images per second at 40 steps per second.")


if __name__ == "__main__":
    main()
