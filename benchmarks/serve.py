"""Clients against `cyclegan serve`: throughput next to a loop with `Translator`, latency, errors, and memory.

``python benchmarks/serve.py --generator auto --clients 16 --minutes 10`` draws a generator, serves it, and sends one
image from all clients at once, each waiting for its answer. The loop decodes, translates and encodes that image in one
process, before and after; its mean is the reference. Memory is the server's, as the mean over its first and last
minute, or fifth of a shorter run. CPU times per image compare the two on a machine that has other work, too.

Prints a row of the table in docs/serving.md, and the statuses of the answers.
"""

import argparse
import io
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import numpy as np
import psutil
import torch
from PIL import Image

from cyclegan import Translator
from cyclegan.config.schema import Config
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.encode import write_pixels
from cyclegan.networks.generator import build_generator
from cyclegan.runs.model import Model, model_settings
from cyclegan.runs.publish import write_model

GENERATORS: dict[str, dict[str, str | int]] = {
    "tiny": {"generator": "resnet_6blocks", "generator_width": 8},
    "auto": {"generator": "space_to_depth"},  # what the preset chooses on a CPU
    "paper": {"generator": "resnet_9blocks"},
}


def draw_model(generator: str, folder: Path) -> None:
    """Write a model folder with random weights."""
    config = Config().with_settings(**GENERATORS[generator])
    torch.manual_seed(0)
    state = build_generator(config.networks, 3, 3).state_dict()
    write_model(Model(model_settings(config), {f"generators.G.{k}": v for k, v in state.items()}, "drawn"), folder)


def bare_loop(translator: Translator, image: bytes, seconds: float) -> tuple[float, float]:
    """Images per second, and seconds of CPU per image, of a loop that decodes, translates and encodes."""
    with tempfile.TemporaryDirectory() as folder:
        count, end, used = 0, (start := time.perf_counter()) + seconds, time.process_time()
        while time.perf_counter() < end:
            pixels = read_pixels(io.BytesIO(image), translator.input_spec)
            write_pixels(translator.translate(pixels), Path(folder, "result.jpg"))
            count += 1
        return count / (time.perf_counter() - start), (time.process_time() - used) / count


def load(url: str, image: bytes, clients: int, seconds: float) -> tuple[list[float], Counter[int]]:
    """Seconds of every answered request, and the number of answers by status."""
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    end = time.perf_counter() + seconds

    def client() -> None:
        with httpx.Client(base_url=url, timeout=3600, trust_env=False) as connection:
            while (start := time.perf_counter()) < end:
                answer = connection.post("/v1/translate", content=image, headers={"Content-Type": "image/jpeg"})
                statuses[answer.status_code] += 1
                latencies.append(time.perf_counter() - start)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return latencies, statuses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--generator", choices=list(GENERATORS), default="auto")
    parser.add_argument("--model", help="serve this model instead of a random one")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--timeout", type=int, default=60, help="of the server, for a busy machine")
    options = parser.parse_args()
    seconds = 60 * options.minutes
    noise = np.random.default_rng(0).integers(0, 256, (options.size // 8, options.size // 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((options.size, options.size), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    image = file.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or folder + "/model"
        if not options.model:
            draw_model(options.generator, Path(model))
        translator = Translator.load(model)
        bare_loop(translator, image, 2)  # warm-up
        before = bare_loop(translator, image, seconds / 4)
        command = [sys.executable, "-m", "cyclegan", "serve", model, "--port", "0", "--timeout", str(options.timeout)]
        with open(folder + "/log", "w") as log:  # noqa: PTH123
            server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None, "the server did not start"
            load(found[0], image, options.clients, 2)  # warm-up
            memory: list[float] = []
            process = psutil.Process(server.pid)
            measured = threading.Event()

            def watch() -> None:
                while not measured.wait(seconds / 200):
                    memory.append(process.memory_info().rss / 2**20)

            watcher = threading.Thread(target=watch)
            watcher.start()
            start, used, own = time.perf_counter(), sum(process.cpu_times()[:2]), time.process_time()
            latencies, statuses = load(found[0], image, options.clients, seconds)
            elapsed, own = time.perf_counter() - start, time.process_time() - own
            used = sum(process.cpu_times()[:2]) - used
            measured.set()
            watcher.join()
        finally:
            server.terminate()
            server.wait()
        rates, cpu = zip(before, bare_loop(translator, image, seconds / 4), strict=True)
    part = max(1, len(memory) // 5 if seconds < 300 else round(len(memory) * 60 / seconds))
    first, last = statistics.mean(memory[:part]), statistics.mean(memory[-part:])
    served, bare, count = statuses[200] / elapsed, statistics.mean(rates), statuses[200]
    percentiles = " | ".join(f"{statistics.quantiles(latencies, n=100)[at - 1]:.1f} s" for at in (50, 95, 99))
    costs = ", ".join(f"{1000 * each:.0f}" for each in (used / count, own / count, statistics.mean(cpu)))
    print(
        f"| {options.model or options.generator} | {served:.2f} images/s | {bare:.2f} images/s | {served / bare:.2f} "
        f"| {percentiles} | {first:.0f}, {last:.0f} MiB | {costs} ms |"
    )
    print(
        f"{options.clients} clients, {elapsed:.0f} s, {(used + own) / elapsed:.0%} of a core, answers {dict(statuses)}"
    )


if __name__ == "__main__":
    main()
