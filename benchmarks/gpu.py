"""Training and translation on a GPU: steps and images per second, memory, and the share of the matrix ceiling.

``python benchmarks/gpu.py`` prints the table of docs/performance.md: `paper` at 256x256 with batch sizes 1, 4 and 16,
in single precision, TF32 and bfloat16, with channels last and compiled, and the textbook step of
benchmarks/training.py in the same run. The ceiling is the speed of a product of large matrices in the same precision.
``--profile`` adds where the time of a step goes. With ``--device cpu`` and small sizes it only shows that the program
works.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from cyclegan.training.setup import configure
from training import Textbook, our_step, random_images, textbook_step

MODES: dict[str, dict[str, Any]] = {
    "float32": {},
    "TF32": {},
    "TF32, channels last": {"channels_last": True},
    "TF32, compiled": {"compile": True},
    "bfloat16": {"precision": "bf16-mixed"},
    "bfloat16, channels last": {"precision": "bf16-mixed", "channels_last": True},
    "bfloat16, compiled": {"precision": "bf16-mixed", "compile": True},
    "bfloat16, channels last, compiled": {"precision": "bf16-mixed", "channels_last": True, "compile": True},
}
Step = Callable[[], None]


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """TF32 in matrix products and convolutions on or off."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True


def per_second(step: Step, device: torch.device, seconds: float, warm_up: int) -> float:
    """How often a step runs per second."""
    for _ in range(warm_up):
        step()
    synchronize(device)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step()
        count += 1
        if count % 10 == 0:  # keeps the queue of the GPU short, so that the clock means something
            synchronize(device)
    synchronize(device)
    return count / (time.perf_counter() - start)


def synchronize(device: torch.device) -> None:
    """Wait for the GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_ceiling(device: torch.device, dtype: torch.dtype, size: int, seconds: float) -> float:
    """TFLOP/s of a product of square matrices."""
    a = torch.randn(size, size, device=device, dtype=dtype)
    out = torch.empty_like(a)

    def product() -> None:
        torch.mm(a, a, out=out)

    return per_second(product, device, seconds, 3) * 2 * size**3 / 1e12


def flops(step: Step) -> float:
    """Floating-point operations of a step, 2 for each multiplication and addition."""
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def measure(name: str, step: Step, work: float, ceiling: float, options: argparse.Namespace) -> float:
    """Print a row, and return the steps per second."""
    device = torch.device(options.device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    speed = per_second(step, device, options.seconds, options.warm_up)
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    share = f"{speed * work / 1e12:.1f} TFLOP/s, {speed * work / 1e12 / ceiling:.0%} of the ceiling"
    print(f"| {name} | {speed:.2f} | {memory:.1f} | {share} |", flush=True)
    if options.profile:
        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
        with profile(activities=activities) as profiler:
            step()
            synchronize(device)
        print(profiler.key_averages().table(sort_by=f"{device.type}_time_total", row_limit=15))
    return speed


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--modes", choices=MODES, nargs="+", default=list(MODES))
    parser.add_argument("--matrix", type=int, default=8192, help="side of the matrices for the ceiling")
    parser.add_argument("--seconds", type=float, default=10.0, help="per row")
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("no CUDA GPU was found; --device cpu with small sizes shows that the program works")
    device = torch.device(options.device)
    settings = {"generator_width": options.width, "discriminator_width": options.width, "load_size": options.size}
    base = configure("paper", crop_size=options.size, device=options.device, winograd=False, **settings)
    with tf32(False):
        ceilings = {"float32": matrix_ceiling(device, torch.float32, options.matrix, options.seconds / 4)}
    ceilings["TF32"] = matrix_ceiling(device, torch.float32, options.matrix, options.seconds / 4)
    ceilings["bfloat16"] = matrix_ceiling(device, torch.bfloat16, options.matrix, options.seconds / 4)
    card = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(f"{card}, torch {torch.__version__}: " + ", ".join(f"{n} {c:.1f} TFLOP/s" for n, c in ceilings.items()))
    for batch in options.batch:
        config = base.with_settings(batch_size=batch)
        print(f"\n| batch {batch} | steps/s | GiB | arithmetic |\n| --- | --- | --- | --- |")
        step = textbook_step(config)
        work = flops(step)
        with tf32(False):
            reference = measure("textbook, float32", step, work, ceilings["float32"], options)
        for name in options.modes:
            torch.compiler.reset()
            step = our_step(config.with_settings(**MODES[name]))
            with tf32(name != "float32"):
                speed = measure(name, step, work, ceilings[name.split(",")[0]], options)
            print(f"  {speed / reference:.2f} times the textbook step")
    print("\n| translation | images/s | GiB | arithmetic |\n| --- | --- | --- | --- |")
    for batch in options.batch:
        generator = Textbook(base).G.to(device).eval()
        x, _ = random_images(base.with_settings(batch_size=batch))

        @torch.inference_mode()
        def translate(generator: torch.nn.Module = generator, x: torch.Tensor = x) -> None:
            with torch.autocast(device.type, torch.bfloat16):
                generator(x)

        speed = measure(f"bfloat16, batch {batch}", translate, flops(translate), ceilings["bfloat16"], options)
        print(f"  {speed * batch:.1f} images/s")


if __name__ == "__main__":
    main()
