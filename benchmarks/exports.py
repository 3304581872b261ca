"""Every export of a generator compared with PyTorch: size, speed, difference (the table of docs/export.md).

``python benchmarks/exports.py`` takes the paper's generator at 256x256 with random weights, on drawn landscapes;
``python benchmarks/exports.py RUN`` a trained run on its own test images.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from cyclegan.data.get.seasons import draw_scene
from cyclegan.networks.generator import build_generator
from cyclegan.runs.model import Model, model_settings
from cyclegan.runs.publish import write_model
from cyclegan.training.setup import configure
from cyclegan.translation.export.export import export
from cyclegan.translation.export_formats import FORMATS
from cyclegan.translation.exported import Precision

EXPORTS: tuple[tuple[str, Precision], ...] = (
    ("onnx", "float32"),
    ("onnx", "float16"),
    ("onnx", "int8"),
    ("openvino", "float32"),
    ("openvino", "float16"),
    ("openvino", "int8"),
    ("torch-export", "float32"),
    ("torch-export", "float16"),
    ("safetensors", "float32"),
    ("safetensors", "float16"),
)


def random_model(folder: Path, generator: str) -> Path:
    """A model folder of a generator of width 64 as it is before training."""
    config = configure("paper", data="unused", generator=generator)
    torch.manual_seed(0)
    weights = build_generator(config.networks, 3, 3).state_dict()
    write_model(Model(model_settings(config), {f"generators.G.{k}": v for k, v in weights.items()}, "random"), folder)
    return folder


def drawn_images(folder: Path, size: int, count: int) -> Path:
    """Landscapes of the built-in data set, drawn at this size."""
    folder.mkdir()
    for seed in range(count):
        draw_scene(seed, "summer", size).save(folder / f"{seed}.png")
    return folder


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, nargs="?", help="a trained run; a random generator if not given")
    parser.add_argument("--generator", default="resnet_9blocks")
    parser.add_argument("--size", type=int, default=256, help="pixels, for a random generator")
    parser.add_argument("--images", type=int, default=8, help="for a random generator")
    parser.add_argument("--formats", nargs="*", default=[], help="only these")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        source = options.run or random_model(folder / "model", options.generator)
        images = None if options.run else drawn_images(folder / "images", options.size, options.images)
        print("| export | size, MiB | time, relative to PyTorch | max difference | mean | PSNR, dB |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for name, precision in EXPORTS:
            if options.formats and name not in options.formats:
                continue
            out = folder / f"{name}-{precision}{FORMATS[name].suffix}"
            report = export(source, name, out, precision=precision, images=images, min_psnr=0)
            print(
                f"| {name}, {precision} | {report.bytes / 2**20:.1f} | {report.relative_time:.2f} "
                f"| {report.max_difference:.1g} | {report.mean_difference:.1g} | {report.psnr:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
