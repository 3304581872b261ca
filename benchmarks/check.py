"""Time and peak memory of `cyclegan data check` on many generated images.

``python benchmarks/check.py`` writes 10,000 images of 256x256, half of them JPEG and half PNG, to a temporary folder,
and checks them on all CPU cores, each time in a separate process to measure its memory.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 256


def draw(job: tuple[Path, int]) -> None:
    """A unique image: random colors at three scales, with grain."""
    folder, number = job
    draw = np.random.default_rng(number)
    values = draw.integers(0, 24, (SIZE, SIZE, 3)).astype(np.float32)
    for side in (4, 8, 16):
        small = Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=np.uint8))
        values += np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32) * 0.3
    Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(folder / f"{number:06d}.{('jpg', 'png')[number % 2]}")


def check(folder: Path) -> tuple[float, float, float]:
    """Seconds, and peak memory in MiB of the main process and of the largest worker."""
    script = "import sys; sys.argv = ['cyclegan', *sys.argv[1:]]; from cyclegan.cli.main import main\ntry: main()\n" + (
        "finally:\n import resource as r\n"
        " print(*(r.getrusage(w).ru_maxrss for w in (r.RUSAGE_SELF, r.RUSAGE_CHILDREN)), file=sys.stderr)"
    )
    words = ["data", "check", str(folder), "--sheet", str(folder / "sheet.png")]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - start
    first, others = (int(word) / 1024 for word in done.stderr.split()[-2:])
    return seconds, first, others


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1_000, 10_000])
    for count in parser.parse_args().images:
        with tempfile.TemporaryDirectory() as name:
            data = Path(name)
            jobs = [(data / ("trainA", "trainB")[number % 4 > 1], number) for number in range(count)]
            for folder in {folder for folder, _ in jobs}:
                folder.mkdir()
            with ProcessPoolExecutor() as pool:
                list(pool.map(draw, jobs, chunksize=64))
            seconds, first, others = check(data)
        print(f"{count:,} images: {seconds:.1f} s, {first:.0f} MiB; each worker at most {others:.0f} MiB")


if __name__ == "__main__":
    main()
