"""Compare methods and their options for equal CPU time, with seeds and the scores of doing nothing.

    python benchmarks/methods.py                                  # all tables, on built-in sets
    python benchmarks/methods.py --tables pairs labels            # these only
    python benchmarks/methods.py emoji facades --tables methods   # on data folders of yours too

Each run is trained on one core for --minutes of CPU time and measured once and its result stored, so a stopped
benchmark continues. The tables are written into docs/methods.md after each seed.
"""

import statistics
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.autograd import backward
from torch.nn.functional import cross_entropy

from cyclegan import Translator
from cyclegan.data.get import seasons
from cyclegan.imaging.decode import read_image, read_labels
from cyclegan.imaging.image import to_tensor
from cyclegan.networks.segmenter import Segmenter
from recipes import write_closer
from results import run_program
from runs import ByKind, Trial, draw_sets, measure_all, options_of, table, write_table

DOCS = Path(__file__).parents[1] / "docs" / "methods.md"
Recipes = dict[str, dict[str, Any]]
READER_STEPS = 300  # of the network that reads label maps in translations


def write_objects(to: Path) -> None:
    """The built-in set with maps, where only trees and houses of B are those of winter, and all else stays summer."""
    seasons.write_seasons(to, maps=True)
    for split in ("train", "test"):
        for file in sorted((to / f"{split}B").iterdir()):
            mask = Image.open(to / f"{split.removeprefix('train')}maskB" / file.name)
            summer = seasons.draw_scene(int(file.stem), "summer")
            Image.composite(Image.open(file), summer, mask).save(file)


def write_turned(to: Path) -> None:
    """Thirty training images for each domain, turned by 0 to 3 quarter turns, so that they have no up."""
    seasons.write_seasons(to, train=30)
    for file in sorted(to.glob("t*/*.png")):
        Image.fromarray(np.rot90(np.asarray(Image.open(file)), int(file.stem) % 4)).save(file)


PAIRS = (5, 20, 100, 400)
SETS: dict[str, Callable[[Path], object]] = {
    "seasons": partial(seasons.write_seasons, maps=True),
    "seasons-objects": write_objects,
    "seasons-30-turned": write_turned,
    "seasons-closer": write_closer,
}
SETS |= {f"pairs-{count}": partial(seasons.write_seasons, train=count, paired=True) for count in PAIRS}

CYCLEGAN: Recipes = {"cyclegan": {}}
ATTENTION: Recipes = {"cyclegan, attention": {"generator": "attention"}}
METHODS = CYCLEGAN | ATTENTION | {name: {"method": name} for name in ("dcl", "cut", "fastcut")}
STRUCTURES = CYCLEGAN | {
    f"cyclegan, {name.replace('_', ' ')}": {"structure": name}
    for name in ("ssim", "self_similarity", "mutual_information")
}
LABELS: Recipes = {name: {"method": name} for name in ("cyclegan", "dcl")}
LABELS |= {f"{name}, labels": settings | {"labels": True} for name, settings in LABELS.items()}
MASKS = CYCLEGAN | ATTENTION | {f"cyclegan, masks {how}": {"masks": how} for how in ("loss", "composite")}
TURNS = {"rotate": True, "flip_vertical": True}
JITTERS = {"scale_jitter": 0.2, "color_jitter_a": 0.1, "color_jitter_b": 0.1}
AUGMENTED = CYCLEGAN | {
    "cyclegan, turns": TURNS,
    "cyclegan, turns and jitter": TURNS | JITTERS,
    "cyclegan, diffaugment": {"augment": "diffaugment"},
    "cyclegan, turns and diffaugment": TURNS | {"augment": "diffaugment"},
}

METRICS: dict[str, tuple[str, ...]] = {
    "methods": ("psnr", "ssim", "miou", "kd_efficientnet", "swd"),
    "pairs": ("psnr", "ssim", "swd"),
    "pairs-dcl": ("psnr", "ssim", "swd"),
    "labels": ("psnr", "ssim", "miou", "swd"),
    "masks": ("psnr", "ssim", "kept_change", "swd"),
    "small": ("psnr", "ssim", "kd_efficientnet", "swd"),
    "structure": ("psnr", "ssim", "edge_agreement", "miou"),
}


def trials_of(table: str, folder: Path, data: Sequence[Path]) -> list[Trial]:
    """The runs of a table; `data` are the user's data folders, for the table of methods."""

    def on(images: Path, recipes: Recipes, test: Path | None = None) -> list[Trial]:
        return [Trial(images, recipe, settings, test) for recipe, settings in recipes.items()]

    built_in = folder / "seasons"
    if table == "methods":
        return [trial for images in (built_in, *data) for trial in on(images, METHODS)]
    if table == "pairs":
        mixed: Recipes = {f"cyclegan, {count} pairs": {"pairs": folder / f"pairs-{count}"} for count in PAIRS}
        paired: Recipes = {f"pix2pix, {n} pairs": {"method": "pix2pix", "data": folder / f"pairs-{n}"} for n in PAIRS}
        return on(built_in, CYCLEGAN | mixed | paired)
    if table == "pairs-dcl":
        mixed = {f"dcl, {count} pairs": {"method": "dcl", "pairs": folder / f"pairs-{count}"} for count in PAIRS}
        return on(built_in, {"dcl": {"method": "dcl"}} | mixed)
    if table == "structure":
        return on(built_in, STRUCTURES) + on(folder / "seasons-closer", STRUCTURES, test=built_in)
    sets = {"labels": (built_in, LABELS), "masks": (folder / "seasons-objects", MASKS)}
    return on(*(sets | {"small": (folder / "seasons-30-turned", AUGMENTED)})[table])


def label_classes(file: Path) -> Tensor:
    """The class (H, W) of each pixel of a label map."""
    return torch.from_numpy(read_labels(file)[..., 0]).long()


@cache
def label_reader(data: Path, domain: str) -> Segmenter:
    """A network trained on the real images of a domain and their label maps, which no compared method has seen."""
    torch.manual_seed(0)
    reader, file = Segmenter(3, len(seasons.CLASSES)), data.with_name(f"{data.name}-reader-{domain}.safetensors")
    if not file.exists():
        files = sorted((data / f"train{domain}").iterdir())
        images = torch.stack([to_tensor(read_image(each)) for each in files])
        labels = torch.stack([label_classes(data / f"label{domain}" / each.name) for each in files])
        optimizer = torch.optim.Adam(reader.parameters(), 2e-3)
        for _ in range(READER_STEPS):
            chosen = torch.randint(len(files), (8,))
            optimizer.zero_grad()
            backward(cross_entropy(reader(images[chosen]), labels[chosen]))
            optimizer.step()
        save_file(reader.state_dict(), file)
    reader.load_state_dict(load_file(file))
    return reader.eval()


def mean_iou(images: Sequence[Image.Image], labels: Sequence[Path], reader: Segmenter) -> float:
    """Intersection over union of what `reader` sees in images with their label maps, the mean over the classes."""
    with torch.inference_mode():
        seen = torch.cat([reader(to_tensor(image)[None]).argmax(1) for image in images])
    truth = torch.stack([label_classes(file) for file in labels])
    there = ((seen == k, truth == k) for k in range(len(seasons.CLASSES)) if (truth == k).any())
    return statistics.mean(float((a & b).sum() / (a | b).sum()) for a, b in there)


def label_metrics(run: Path, trial: Trial) -> ByKind:
    """The mIoU of translations, inputs and real images in each direction; none for data without label maps."""
    data, found = trial.test or trial.data, ByKind(value={}, untranslated={}, real={})
    if not (data / "testlabelA").exists() or "data" in trial.settings:
        return found
    for direction in Translator.load(run, device="cpu").directions:
        source, target = direction.split("to")
        files, real = (sorted((data / f"test{domain}").iterdir()) for domain in (source, target))
        inputs, reader = [read_image(file) for file in files], label_reader(data, target)
        translated = Translator.load(run, direction, "cpu").translate(inputs)
        kinds = {"value": translated, "untranslated": inputs, "real": [read_image(file) for file in real]}
        for kind, images in kinds.items():
            labels = data / f"testlabel{target if kind == 'real' else source}"
            found[kind][direction] = {"miou": mean_iou(images, [labels / file.name for file in files], reader)}
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what has no result yet, then write the tables."""
    parser = options_of(__doc__, "outputs/methods", minutes=1.5)
    parser.add_argument("--tables", nargs="+", default=list(METRICS), choices=list(METRICS))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    draw_sets(options.folder, SETS)
    for name in options.tables:
        trials, common = trials_of(name, options.folder, options.data), (options.minutes, True, label_metrics)
        for done in range(1, len(options.seeds) + 1):
            chosen = measure_all(options.folder, trials, options.seeds[:done], *common)
            write_table(DOCS, name, table(chosen, METRICS[name], cpu_time=True))


if __name__ == "__main__":
    run_program(main)
