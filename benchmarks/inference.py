"""Time per image on the CPU: eager and compiled PyTorch, ONNX Runtime, OpenVINO, and ours; and their differences.

``python benchmarks/inference.py`` runs all of them in turn with the same weights and images, so that load on the
machine affects all equally. Each is timed after a warm-up run of its own, because the threads of the previous one still
spin and its data is in the cache. It compares medians, and median ratios of neighboring runs to ours. Runtimes that are
not installed are skipped (``pip install onnx onnxscript onnxruntime openvino``).
"""

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from cyclegan.config.schema import NetworkConfig
from cyclegan.networks import winograd
from cyclegan.networks.cpu.rewrite import rewrite_for_cpu
from cyclegan.networks.generator import Generator, build_generator
from cyclegan.training.distill import Student, student_networks

Run = Callable[[Tensor], Tensor]
GENERATORS: dict[str, dict[str, Any]] = {
    "paper": {},
    "fast": {"generator": "resnet_light", "generator_width": 32},
    "auto": {"generator": "space_to_depth", "generator_width": 32, "blocks": 4},
    "unet": {"generator": "unet_256", "norm": "batch"},
    **{student: student_networks(student, 256) for student in get_args(Student)},
}
SIZES = (128, 256, 512, 1024)
OURS = "ours"


def generator(name: str) -> Generator:
    """A preset's, a U-Net's or a student's generator with PyTorch's own convolutions, and weights as large as trained
    ones."""
    torch.manual_seed(0)
    network = build_generator(NetworkConfig(**GENERATORS[name]), 3, 3).eval()
    winograd.set_winograd(network, False)
    return network


def compiled(network: nn.Module, size: int, threads: int) -> Run:
    """torch.compile with frozen weights."""
    from torch._inductor import config

    torch.compiler.reset()
    config.freezing = True
    return torch.compile(network)


def onnx_runtime(network: nn.Module, size: int, threads: int) -> Run:
    """ONNX Runtime with all its optimizations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        session = onnxruntime.InferenceSession(exported(network, size, Path(folder)), options)
    return lambda x: torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def openvino(network: nn.Module, size: int, threads: int) -> Run:
    """OpenVINO with its latency hint."""
    import openvino as ov

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    with tempfile.TemporaryDirectory() as folder:
        model = ov.Core().compile_model(exported(network, size, Path(folder)), "CPU", settings)
    return lambda x: torch.from_numpy(model([x.numpy()])[0].copy())


def exported(network: nn.Module, size: int, folder: Path) -> str:
    """The path of an ONNX file with a fixed image size, the easiest case for a runtime."""
    path = folder / "generator.onnx"
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.onnx.export(network, (torch.zeros(1, 3, size, size),), path, dynamo=True, verbose=False)
    return str(path)


OTHERS: dict[str, Callable[[nn.Module, int, int], Run]] = {
    "eager": lambda network, size, threads: network,
    "compiled": compiled,
    "onnxruntime": onnx_runtime,
    "openvino": openvino,
}


def runs(network: Generator, size: int, threads: int, names: list[str]) -> dict[str, Run]:
    """Ours and all installed alternatives."""
    found: dict[str, Run] = {OURS: rewrite_for_cpu(network)}
    for name in names:
        try:
            found[name] = OTHERS[name](network, size, threads)
            found[name](torch.zeros(1, 3, size, size))
        except ImportError as error:
            print(f"{name} is skipped: {error}")
    return found


def timed(candidates: dict[str, Run], x: Tensor, rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each candidate in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            run(x)
            start = clock()
            run(x)
            seconds[name].append(clock() - start)
    return seconds


def compare(name: str, size: int, options: argparse.Namespace) -> None:
    """Print a line per candidate."""
    network = generator(name)
    candidates = runs(network, size, options.threads, options.with_)
    x = torch.rand(1, 3, size, size) * 2 - 1
    rounds = max(3, options.rounds * 256**2 // size**2) if size > 256 else options.rounds
    reference = network(x)
    clock = time.process_time if options.cpu_time else time.perf_counter
    seconds = timed(candidates, x, rounds, clock)
    for runtime, times in seconds.items():
        ratio = statistics.median(t / ours for t, ours in zip(times, seconds[OURS], strict=True))
        difference = (candidates[runtime](x) - reference).abs().max().item()
        print(
            f"{name:6s} {size:4d}x{size:<4d} {runtime:11s} {statistics.median(times):7.3f} s  {ratio:5.2f} x ours  "
            f"largest difference from eager {difference:.1e} (median of {rounds})",
            flush=True,
        )


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", choices=GENERATORS, nargs="+", default=list(GENERATORS))
    parser.add_argument("--size", type=int, nargs="+", default=SIZES)
    parser.add_argument("--with", dest="with_", choices=OTHERS, nargs="+", default=list(OTHERS))
    parser.add_argument("--rounds", type=int, default=15, help="rounds at 256x256 and below; fewer for larger images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds: for one thread on a busy machine")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        for name in options.generator:
            for size in options.size:
                compare(name, size, options)


if __name__ == "__main__":
    main()
