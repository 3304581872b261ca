"""The original generative adversarial network (Goodfellow et al. 2014), on scikit-learn's digits of 8x8 pixels.

``python examples/gan.py`` trains it in a minute on a CPU, draws the images that fixed noise becomes during the run, and
prints measures of their quality. It needs ``pip install -e ".[examples]"``.

For the package this is one more translation: A is noise z, B are digits x, and G: A -> B. The class below therefore
also shows how to add a method.
"""

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from cyclegan import Config
from cyclegan.config.schema import LossConfig, NetworkConfig
from cyclegan.methods.method import Batch, Images, Method, Terms
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import MethodSpec
from cyclegan.runs.sample_grids import sample_grid
from cyclegan.training.step import TrainState
from digits import NOISE, PIXELS, SIDE, Digits

WIDTH = 128  # neurons of a hidden layer
SHOWN_AT = (0, 100, 300, 1000, 3000)  # steps, and the last one


@register_method(MethodSpec("gan", "GAN", __name__, {"AtoB": "G"}))
class GAN(Method):
    """min over G, max over D of V(D, G) = E[log D(x)] + E[log(1 - D(G(z)))] (eq. 1)."""

    discriminators_first: ClassVar[bool] = True  # algorithm 1, with k = 1

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__(networks, loss, channels, seed)
        self.set_networks({"G": generator(NOISE)}, {"D": discriminator(PIXELS)})

    def generate(self, batch: Batch) -> Images:
        """G(z)."""
        return {"B": self.generators["G"](batch["A"])}

    def discriminators_loss(self, batch: Batch, images: Images) -> Terms:
        """-V(D, G)."""
        D = self.discriminators["D"]
        return {"D": self.gan.discriminator(D(batch["B"]), D(images["B"].detach()))}

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """E[log(1 - D(G(z)))], the part of V that depends on G."""
        return {"G": self.gan.generator(self.discriminators["D"](images["B"]))}


def generator(inputs: int) -> nn.Sequential:
    """From (N, inputs) to images (N, 1, 8, 8) in [-1, 1]."""
    return nn.Sequential(
        *(nn.Linear(inputs, WIDTH), nn.ReLU()),
        *(nn.Linear(WIDTH, WIDTH), nn.ReLU()),
        *(nn.Linear(WIDTH, PIXELS), nn.Tanh(), nn.Unflatten(1, (1, SIDE, SIDE))),
    )


def discriminator(inputs: int) -> nn.Sequential:
    """From (N, inputs), or images of that many pixels, to logits (N, 1); with dropout, as in 2014."""
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(inputs, WIDTH), nn.LeakyReLU(0.2), nn.Dropout(0.2)),
        *(nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(0.2), nn.Dropout(0.2)),
        nn.Linear(WIDTH, 1),
    )


def train(method: str, digits: Digits, stops: Iterable[int], seed: int) -> Iterator[nn.ModuleDict]:
    """Train a method by the package's own step; yields its averaged generators after each of the `stops`, in steps."""
    settings = {"objective": "minimax", "learning_rate": 1e-3, "ema_decay": 0.999, "seed": seed}
    training = TrainState(Config().with_settings(method=method, **settings), Fabric(accelerator="cpu", devices=1))
    for stop in stops:
        while training.step < stop:
            training.train_step([digits.batch()])
        yield training.generators


def main(arguments: list[str] | None = None) -> None:
    """Train, draw, and print measures of quality."""
    options = parse(__doc__ or "", "gan.png", arguments)
    digits = Digits.load()
    noise = torch.randn(8, NOISE, generator=torch.Generator().manual_seed(options.seed))
    stops = [step for step in SHOWN_AT if step < options.steps] + [options.steps]
    columns = {}
    for step, generators in zip(stops, train("gan", digits, stops, options.seed), strict=True):
        columns[f"step {step}"] = generators["G"](noise).detach()
    columns["nearest real"], _ = digits.nearest(columns[f"step {options.steps}"])
    save(columns, options.out)

    made = generators["G"](torch.randn(1000, NOISE)).detach()
    static = torch.rand(1000, PIXELS) * 2 - 1
    print("Median distance to the nearest training digit:")
    for name, images in (("made", made), ("real, held out", digits.held_out), ("noise", static)):
        print(f"  {name:15s} {digits.nearest(images)[1].median():.2f}")
    counts = np.bincount(digits.classifier().predict(made.flatten(1)), minlength=10)
    print(
        "A classifier reads 1,000 generated digits as: "
        + ", ".join(f"{n} as {digit}" for digit, n in enumerate(counts))
    )


def parse(description: str, file_name: str, arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("outputs/examples") / file_name, help="the image to write")
    return parser.parse_args(arguments)


def save(columns: dict[str, Tensor], path: Path) -> None:
    """Write the columns as one image, and print its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sample_grid(columns).convert("L").save(path, optimize=True)
    print(f"Image: {path}")


if __name__ == "__main__":
    main()
