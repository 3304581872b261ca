"""Time and peak memory of a training step, compared with a textbook implementation.

``python benchmarks/training.py`` compares both on the CPU, or a GPU if there is one: in separate processes for the
memory, and interleaved in one process for the time, so that load on the machine affects both equally. ``--cpu-time``
with ``OMP_NUM_THREADS=1`` is more reliable on a shared machine. The first line is the ceiling: the speed of matrix
products.
"""

import argparse
import itertools
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from cyclegan.config.presets import Environment, auto_settings
from cyclegan.config.schema import Config
from cyclegan.methods.history import ImageHistory
from cyclegan.networks import winograd
from cyclegan.networks.discriminator import build_discriminator
from cyclegan.networks.generator import build_generator
from cyclegan.training.setup import configure
from cyclegan.training.step import TrainState

AT_128: dict[str, Any] = {"generator": "resnet_9blocks", "load_size": 143, "crop_size": 128, "device": "cpu"}


def auto_config(size: int) -> Config:
    """The preset `auto` on a CPU, for photographs or icons of that size."""
    chosen = auto_settings(Environment(size, gpu_memory=None, has_features=True), "space_to_depth")
    return configure("paper", device="cpu", **chosen)


SETTINGS: dict[str, Callable[[], Config]] = {
    "paper at 128x128": lambda: configure("paper", **AT_128),
    "small": lambda: configure("small", device="cpu"),
    "auto at 64x64": lambda: auto_config(64),
    "auto at 128x128": lambda: auto_config(128),
    "cut at 128x128": lambda: configure("paper", method="cut", **AT_128),
    "fastcut at 128x128": lambda: configure("paper", method="fastcut", **AT_128),
}
BESIDE_TEXTBOOK = ("paper at 128x128", "small", "auto at 64x64", "auto at 128x128")
METHODS = ("paper at 128x128", "cut at 128x128", "fastcut at 128x128")


class Textbook:
    """A CycleGAN step as in tutorials: separate passes, PyTorch's own convolutions and Adam."""

    def __init__(self, config: Config):
        torch.manual_seed(0)
        self.config = config
        networks = config.networks
        self.G, self.F = (build_generator(networks, 3, 3) for _ in range(2))
        for generator in (self.G, self.F):
            winograd.set_winograd(generator, False)
        self.D_Y, self.D_X = (build_discriminator(networks, 3) for _ in range(2))
        rate, betas = config.optimizer.learning_rate, (config.optimizer.beta1, config.optimizer.beta2)
        self.g_optimizer = torch.optim.Adam(itertools.chain(self.G.parameters(), self.F.parameters()), rate, betas)
        self.d_optimizer = torch.optim.Adam(itertools.chain(self.D_Y.parameters(), self.D_X.parameters()), rate, betas)
        draw = random.Random(0)
        self.pool_y, self.pool_x = ImageHistory(50, draw), ImageHistory(50, draw)

    def step(self, x: torch.Tensor, y: torch.Tensor) -> None:
        """Update the generators, then the discriminators."""
        mse, l1 = nn.MSELoss(), nn.L1Loss()
        G, F, D_Y, D_X = self.G, self.F, self.D_Y, self.D_X
        for p in itertools.chain(D_Y.parameters(), D_X.parameters()):
            p.requires_grad_(False)
        fake_y, fake_x = G(x), F(y)
        back_x, back_y = F(fake_y), G(fake_x)
        judged_y, judged_x = D_Y(fake_y), D_X(fake_x)
        loss = mse(judged_y, torch.ones_like(judged_y)) + mse(judged_x, torch.ones_like(judged_x))
        loss = loss + 10 * l1(back_x, x) + 10 * l1(back_y, y)
        loss = loss + 5 * l1(G(y), y) + 5 * l1(F(x), x)
        self.g_optimizer.zero_grad()
        loss.backward()
        self.g_optimizer.step()
        for p in itertools.chain(D_Y.parameters(), D_X.parameters()):
            p.requires_grad_(True)
        self.d_optimizer.zero_grad()
        for D, real, fake in ((D_Y, y, self.pool_y.query(fake_y)), (D_X, x, self.pool_x.query(fake_x))):
            on_real, on_fake = D(real), D(fake)
            d_loss = mse(on_real, torch.ones_like(on_real)) + mse(on_fake, torch.zeros_like(on_fake))
            (d_loss / 2).backward()
        self.d_optimizer.step()


def random_images(config: Config) -> torch.Tensor:
    """Random batches of both domains, on the device of the configuration."""
    size = config.data.crop_size
    return torch.rand(2, config.data.batch_size, 3, size, size, device=config.run.device) * 2 - 1


def textbook_step(config: Config) -> Callable[[], None]:
    """A function that runs one textbook step on random images."""
    textbook = Textbook(config)
    for network in (textbook.G, textbook.F, textbook.D_Y, textbook.D_X):
        network.to(config.run.device)
    x, y = random_images(config)
    return lambda: textbook.step(x, y)


def our_step(config: Config) -> Callable[[], None]:
    """A function that runs one of our steps on random images, without EMA, which the textbook lacks."""
    fabric = Fabric(accelerator=config.run.device, devices=1, precision=config.run.precision)
    training = TrainState(config.with_settings(ema_decay=0.0), fabric)
    for note in training.notes:
        print(note)
    x, y = random_images(config)
    return lambda: training.train_step([{"A": x, "B": y}])


MAKERS = {"textbook": textbook_step, "ours": our_step}


def peak_memory(setting: str, who: str, precision: str = "32-true", steps: int = 3) -> float:
    """Peak memory in GiB of a separate process that runs a few steps."""
    command = [sys.executable, __file__, "--memory-of", who, "--memory-in", setting, "--steps", str(steps)]
    command += ["--precision", precision]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


Steps = dict[str, Callable[[], None]]


def timed(steps: Steps, times: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, list[float]]:
    """Seconds of each step, interleaved so that load on the machine affects all equally."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(times + 1):
        for name, step in steps.items():
            start = clock()
            step()
            if number:  # the first is warm-up
                seconds[name].append(clock() - start)
    return seconds


def say(heading: str, seconds: dict[str, list[float]], memory: dict[str, float]) -> None:
    """Print medians, peak memory, and the median ratio of neighboring steps to the first of them."""
    first, *others = seconds
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{heading} {name:19s} {median:6.3f} s/step {1 / median:6.2f} steps/s  peak {memory[name]:.2f} GiB")
    for name in others:
        ratio = statistics.median(o / f for o, f in zip(seconds[name], seconds[first], strict=True))
        print(f"{heading} {name} / {first}: {ratio:.3f} of the time (median of {len(seconds[name])} pairs)")


def matrix_gflops(size: int = 768) -> float:
    """Billion operations per second of CPU time of a matrix product: the ceiling of convolutions."""
    a, b, out = torch.rand(3, size, size)

    def multiply() -> None:
        torch.mm(a, b, out=out)

    return 2 * size**3 / min(timed({"product": multiply}, 10, time.process_time)["product"]) / 1e9


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8, help="timed steps per implementation")
    parser.add_argument("--setting", choices=BESIDE_TEXTBOOK, help="measure only this setting")
    parser.add_argument("--methods", action="store_true", help="compare CUT and FastCUT with CycleGAN instead")
    parser.add_argument("--cpu-time", action="store_true", help="measure CPU time, of all threads, instead of time")
    parser.add_argument("--precision", default="32-true", help="of our steps")
    parser.add_argument("--memory-of", choices=MAKERS, help=argparse.SUPPRESS)
    parser.add_argument("--memory-in", choices=SETTINGS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        config = SETTINGS[options.memory_in]().with_settings(precision=options.precision)
        step = MAKERS[options.memory_of](config)
        for _ in range(options.steps):
            step()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
        return
    clock = time.process_time if options.cpu_time else time.perf_counter
    # Memory first, while this process is small: a child's peak includes its parent's size.
    if options.methods:
        memory = {setting: peak_memory(setting, "ours") for setting in METHODS}
        say("", timed({setting: our_step(SETTINGS[setting]()) for setting in METHODS}, options.steps, clock), memory)
        return
    settings = [options.setting] if options.setting else list(BESIDE_TEXTBOOK)
    print(f"matrix products: {matrix_gflops():.0f} GFLOPS on {torch.get_num_threads()} threads")
    peaks = {setting: {who: peak_memory(setting, who, options.precision) for who in MAKERS} for setting in settings}
    for setting in settings:
        config = SETTINGS[setting]().with_settings(precision=options.precision)
        steps = {who: make(config) for who, make in MAKERS.items()}
        say(f"{setting:18s}", timed(steps, options.steps, clock), peaks[setting])


if __name__ == "__main__":
    main()
