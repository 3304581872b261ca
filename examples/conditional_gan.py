"""The conditional GAN (Mirza and Osindero 2014): the noise still decides how a digit looks, a label decides which.

``python examples/conditional_gan.py`` trains it in a minute on a processor, draws every digit from the same noise, and
lets a classifier that knows only real digits say whether it got what it asked for. Read ``gan.py`` first: the data, the
networks and the training are the same, and both sides now see the label y.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from cyclegan.config.schema import LossConfig, NetworkConfig
from cyclegan.methods.method import Batch, Images, Method, Terms
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import MethodSpec
from digits import DIGITS, NOISE, PIXELS, Digits
from gan import discriminator, generator, parse, save, train


@register_method(MethodSpec("conditional_gan", "conditional GAN", __name__, {"AtoB": "G"}))
class ConditionalGAN(Method):
    """min over G, max over D of E[log D(x|y)] + E[log(1 - D(G(z|y)|y))] (eq. 2)."""

    discriminators_first: ClassVar[bool] = True

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__(networks, loss, channels, seed)
        self.generators = nn.ModuleDict({"G": generator(NOISE + DIGITS)})
        self.discriminators = nn.ModuleDict({"D": discriminator(PIXELS + DIGITS)})

    def generate(self, batch: Batch) -> Images:
        """G(z|y)."""
        return {"B": self.generators["G"](given(batch["A"], batch["label"]))}

    def discriminators_loss(self, batch: Batch, images: Images) -> Terms:
        """A digit that is beautiful but not the one asked for is a fake as well: D compares image and label."""
        D, x, y = self.discriminators["D"], batch["B"], batch["label"]
        return {"D": self.gan.discriminator(D(given(x, y)), D(given(images["B"].detach(), y)))}

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """E[log(1 - D(G(z|y)|y))]."""
        return {"G": self.gan.generator(self.discriminators["D"](given(images["B"], batch["label"])))}


def given(x: Tensor, y: Tensor) -> Tensor:
    """A condition is no more than a further input: x made flat, and y beside it."""
    return torch.cat([x.flatten(1), y], dim=1)


def main(arguments: list[str] | None = None) -> None:
    """Train, draw, and say how often the asked digit comes."""
    options = parse(__doc__ or "", "conditional-gan.png", arguments)
    digits = Digits.load()
    [generators] = train("conditional_gan", digits, [options.steps], options.seed)

    @torch.no_grad()
    def ask(digit: int, noise: Tensor) -> Tensor:
        y = one_hot(torch.tensor(digit), DIGITS).float().expand(len(noise), -1)
        images: Tensor = generators["G"](given(noise, y))
        return images

    noise = torch.randn(6, NOISE, generator=torch.Generator().manual_seed(options.seed))
    save({str(digit): ask(digit, noise) for digit in range(DIGITS)}, options.out)

    reader = digits.reader()
    read = [(reader.predict(ask(d, torch.randn(100, NOISE)).flatten(1)) == d).mean() for d in range(DIGITS)]
    print(f"A classifier reads the asked digit in {sum(read) / DIGITS:.1%} of 1,000 made digits; of each:")
    print("  " + ", ".join(f"{digit} {share:.0%}" for digit, share in enumerate(read)))
    real = reader.score(digits.held_out.flatten(1), digits.held_out_labels)
    print(f"It reads {real:.1%} of the real digits that were held out.")


if __name__ == "__main__":
    main()
