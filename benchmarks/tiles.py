"""Memory and time of `cyclegan translate` by image size, in whole processes.

``python benchmarks/tiles.py`` writes generators with random weights and translates images of 1, 4, 16 and 64 megapixels
with 2 GiB of memory, and those of 1 and 4 megapixels also as a whole.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from cyclegan.config.schema import Config
from cyclegan.data.get import seasons
from cyclegan.networks.generator import build_generator
from cyclegan.runs.model import Model
from cyclegan.runs.publish import write_model

GENERATORS: dict[str, dict[str, Any]] = {
    "narrow": {"generator": "resnet_6blocks", "generator_width": 16},
    "light": {"generator": "resnet_light", "generator_width": 32},
    "paper": {"generator": "resnet_9blocks"},
    "antialiased": {"generator": "resnet_9blocks", "antialias": True},
    "U-Net": {"generator": "unet_256", "norm": "batch"},
}
# On Linux, `ru_maxrss` includes the parent process before exec; VmHWM is the command's own peak.
COMMAND = """
import sys, time
from cyclegan.cli.main import main
sys.argv = ["cyclegan", *sys.argv[1:]]
try:
    main()
finally:
    peak = next(line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line)
    print(peak, time.process_time(), file=sys.stderr)
"""


def model(name: str, folder: Path) -> Path:
    """A model folder with random weights."""
    config = Config().with_settings(**GENERATORS[name])
    weights = {f"generators.G.{k}": v for k, v in build_generator(config.networks, 3, 3).state_dict().items()}
    settings = {"networks": GENERATORS[name], "loss": {"method": "cyclegan"}}
    write_model(Model(settings, weights, "drawn at random"), folder / name)
    return folder / name


def landscape(side: int) -> Image.Image:
    """A generated scene; large ones are upscaled, because drawing them is slow."""
    return seasons.draw_scene(0, "summer", min(side, 1024)).resize((side, side), Image.Resampling.BICUBIC)


def measure(run: Path, image: Path, *words: str) -> str:
    """Wall time, CPU time and peak memory of the whole command as table cells; or its error."""
    words = ("translate", str(run), str(image), "-o", str(image.with_name("out.png")), "--overwrite", *words)
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    *message, last = done.stderr.strip().splitlines()
    if done.returncode:
        return f"| {message[-1]} | | |"
    peak, cpu_seconds = last.split()
    return f"| {seconds:.0f} | {float(cpu_seconds):.0f} | {int(peak) / 2**20:.2f} |"


def by_size(names: list[str], sides: list[int], memory: str, whole_up_to: int) -> None:
    """Print the table of image sizes."""
    print("| generator | pixels | mode | seconds | CPU seconds | peak memory, GiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        for generator in names:
            run = model(generator, Path(name))
            for side in sides:
                landscape(side).save(image := Path(name) / "in.png", compress_level=1)
                modes = {f"--memory {memory}": ("--memory", memory)}
                if side <= whole_up_to:
                    modes |= {"whole": ("--memory", "100GiB")}
                for mode, arguments in modes.items():
                    print(f"| {generator} | {side} × {side} | {mode} {measure(run, image, *arguments)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--generators", nargs="+", choices=GENERATORS, default=["narrow", "paper"])
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096, 8192])
    parser.add_argument("--memory", default="2GiB")
    parser.add_argument("--whole-up-to", type=int, default=2048, help="largest side that is also translated as a whole")
    options = parser.parse_args()
    by_size(options.generators, options.sides, options.memory, options.whole_up_to)


if __name__ == "__main__":
    main()
