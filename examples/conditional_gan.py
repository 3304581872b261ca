"""The conditional GAN (Mirza and Osindero 2014): noise determines the style of a digit, a label which digit it is.

``python examples/conditional_gan.py`` trains it in a minute on a CPU, draws every digit from the same noise, and
measures with a classifier trained on real digits how often the requested digit is drawn. Read ``gan.py`` first: data,
networks and training are the same, but both sides also see the label y.
"""

from typing import ClassVar

import torch
from torch import Tensor
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
        self.set_networks({"G": generator(NOISE + DIGITS)}, {"D": discriminator(PIXELS + DIGITS)})

    def generate(self, batch: Batch) -> Images:
        """G(z|y)."""
        return {"B": self.generators["G"](given(batch["A"], batch["label"]))}

    def discriminators_loss(self, batch: Batch, images: Images) -> Terms:
        """D sees image and label, so that a well-drawn digit other than the requested one is a fake, too."""
        D, x, y = self.discriminators["D"], batch["B"], batch["label"]
        return {"D": self.gan.discriminator(D(given(x, y)), D(given(images["B"].detach(), y)))}

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """E[log(1 - D(G(z|y)|y))]."""
        return {"G": self.gan.generator(self.discriminators["D"](given(images["B"], batch["label"])))}


def given(x: Tensor, y: Tensor) -> Tensor:
    """A condition is another input: x, flattened, concatenated with y."""
    return torch.cat([x.flatten(1), y], dim=1)


def main(arguments: list[str] | None = None) -> None:
    """Train, draw, and print how often the requested digit is drawn."""
    options = parse(__doc__ or "", "conditional-gan.png", arguments)
    digits = Digits.load()
    [generators] = train("conditional_gan", digits, [options.steps], options.seed)

    @torch.no_grad()
    def draw(digit: int, noise: Tensor) -> Tensor:
        y = one_hot(torch.tensor(digit), DIGITS).float().expand(len(noise), -1)
        images: Tensor = generators["G"](given(noise, y))
        return images

    noise = torch.randn(6, NOISE, generator=torch.Generator().manual_seed(options.seed))
    save({str(digit): draw(digit, noise) for digit in range(DIGITS)}, options.out)

    classifier = digits.classifier()
    read = [(classifier.predict(draw(d, torch.randn(100, NOISE)).flatten(1)) == d).mean() for d in range(DIGITS)]
    print(f"A classifier recognizes the requested digit in {sum(read) / DIGITS:.1%} of 1,000 images; by digit:")
    print("  " + ", ".join(f"{digit} {share:.0%}" for digit, share in enumerate(read)))
    real = classifier.score(digits.held_out.flatten(1), digits.held_out_labels)
    print(f"It recognizes {real:.1%} of the held-out real digits.")


if __name__ == "__main__":
    main()
