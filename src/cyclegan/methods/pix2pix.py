"""pix2pix: translation learned from pairs, by a conditional adversarial network (Isola et al., CVPR 2017) [P].

One generator G: x -> y, and one discriminator D that sees input and output together: it tells (x, y) from (x, G(x)).
Loss terms carry the names that users of the authors' repository [R] know.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from cyclegan.config.schema import Direction, LossConfig, NetworkConfig
from cyclegan.methods.losses import l1
from cyclegan.methods.method import Batch, Case, Images, Method, Terms
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import PIX2PIX
from cyclegan.networks import build_discriminator, build_generator


@register_method(PIX2PIX)
class Pix2Pix(Method):
    """G and D, and the objective G* = arg min max L_cGAN(G, D) + lambda L_L1(G) [P eq. 4].

    The noise z of the paper is the dropout within G [P 3.1]. `settings.direction` says which domain is x.
    """

    discriminators_first: ClassVar[bool] = True  # [R]

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__(networks, loss, channels, seed)
        self.source, self.target = loss.direction.split("to")
        x, y = self.generator_channels(channels if self.source == "A" else channels[::-1])
        self.generators = nn.ModuleDict({"G": build_generator(networks, x, y)})
        self.discriminators = nn.ModuleDict({"D": build_discriminator(networks, x + y)})
        self.stacked = (x, y)

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """x and y."""
        return batch[self.source], batch[self.target]

    def generate(self, batch: Batch) -> Images:
        """G(x)."""
        x, _ = self.pair(batch)
        return {self.target: self.generators["G"](x)}

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """The generator's side of L_cGAN [P eq. 1], and L_L1 = E|y - G(x)| [P eq. 3]."""
        D, fake, weight = self.discriminators["D"], images[self.target], self.settings
        x, y = self.pair(batch)
        return {
            "G_GAN": weight.lambda_gan * self.gan.generator(D(torch.cat([x, fake], 1))),
            "G_L1": weight.lambda_l1 * l1(fake, y),
        }

    def discriminators_loss(self, batch: Batch, images: Images) -> Terms:
        """The discriminator's side of L_cGAN [P eq. 1]; halved, which slows it down relative to G [P 3.3]."""
        ((name, real, fake),) = self.cases(batch, images).values()
        return self.judge(self.discriminators[name], real, fake.detach())

    def cases(self, batch: Batch, images: Images) -> dict[Direction, Case]:
        """D tells (x, y) from (x, G(x))."""
        x, y = self.pair(batch)
        return {self.settings.direction: ("D", torch.cat([x, y], 1), torch.cat([x, images[self.target]], 1))}
