"""Time until the first image, in fresh processes: import, load and first image of ours, and of ONNX Runtime.

``python benchmarks/startup.py`` makes a model of the preset with random weights, exports it to ONNX, and starts each
program several times in turn; the files are in the system's cache from the first round on, which is not counted. It
also times `cyclegan help`, a usage error, and `cyclegan translate` of one image as whole commands.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cyclegan import export
from cyclegan.methods.method import build_method
from cyclegan.runs.model import Model, model_settings
from cyclegan.runs.publish import write_model
from cyclegan.training.setup import configure

OURS = """
import json, sys, time
start = time.perf_counter()
from cyclegan import Translator
imported = time.perf_counter()
translator = Translator.load(sys.argv[1], device="cpu")
loaded = time.perf_counter()
from PIL import Image
image = Image.open(sys.argv[2])
translator(image)
first = time.perf_counter()
translator(image)
print(json.dumps([imported - start, loaded - imported, first - loaded, time.perf_counter() - first]))
"""
ONNX_RUNTIME = """
import json, sys, time
start = time.perf_counter()
import numpy as np
import onnxruntime
imported = time.perf_counter()
session = onnxruntime.InferenceSession(sys.argv[1])
loaded = time.perf_counter()
from PIL import Image
def translate():
    x = np.asarray(Image.open(sys.argv[2]), dtype=np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    y = session.run(None, {session.get_inputs()[0].name: x})[0]
    return Image.fromarray(((y[0].clip(-1, 1) + 1) * 127.5).round().astype(np.uint8).transpose(1, 2, 0))
translate()
first = time.perf_counter()
translate()
print(json.dumps([imported - start, loaded - imported, first - loaded, time.perf_counter() - first]))
"""
PHASES = ("import", "load", "first image", "second image")


def make_model(folder: Path, preset: str, size: int) -> None:
    """A model folder with random weights, its export, and an image."""
    config = configure(preset)  # type: ignore[arg-type]
    torch.manual_seed(0)
    weights = {k: v for k, v in build_method(config, 0).state_dict().items() if k.startswith("generators.G.")}
    write_model(Model(model_settings(config), weights, "random weights"), folder / "model")
    (folder / "images").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "images" / "image.png")
    export(folder / "model", "onnx", folder / "model.onnx", images=folder / "images")


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=("paper", "fast"), default="paper")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_model(folder, options.preset, options.size)
        image, cyclegan = str(folder / "images" / "image.png"), [sys.executable, "-m", "cyclegan"]
        programs = {
            "ours": [sys.executable, "-c", OURS, str(folder / "model"), image],
            "ONNX Runtime": [sys.executable, "-c", ONNX_RUNTIME, str(folder / "model.onnx"), image],
        }
        commands = {
            "cyclegan help": [*cyclegan, "help"],
            "a usage error": [*cyclegan, "translate", str(folder / "model"), "missing.png", "-o", temporary],
            "cyclegan translate": [
                *[*cyclegan, "translate", str(folder / "model"), image, "-o", temporary + "/out", "--overwrite"],
            ],
        }
        phases: dict[str, list[list[float]]] = {name: [] for name in programs}
        wall: dict[str, list[float]] = {name: [] for name in programs | commands}
        for counted in range(options.rounds + 1):
            for name, words in (programs | commands).items():
                start = time.perf_counter()
                done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=temporary)
                if counted:
                    wall[name].append(time.perf_counter() - start)
                    if name in programs:
                        phases[name].append(json.loads(done.stdout.splitlines()[-1]))
    for name, rounds in phases.items():
        medians = [statistics.median(each) for each in zip(*rounds, strict=True)]
        print(f"{name:18s} " + "  ".join(f"{p} {s:.2f} s" for p, s in zip(PHASES, medians, strict=True)))
    for name, seconds in wall.items():
        print(f"{name:18s} whole process {statistics.median(seconds):.2f} s (median of {len(seconds)})")


if __name__ == "__main__":
    main()
