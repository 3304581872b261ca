"""pix2pix: translation learned from pairs, by a conditional adversarial network (Isola et al., CVPR 2017) [P].

One generator G: x -> y, and one discriminator D of input and output together, which tells (x, y) from (x, G(x)).
Loss terms are named as in the authors' repository [R].
"""

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from cyclegan.config.schema import Direction, LossConfig, NetworkConfig
from cyclegan.methods.losses import l1
from cyclegan.methods.method import Batch, Images, Method, RealFake, Terms, forward_batched
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import PIX2PIX
from cyclegan.networks.discriminator import build_discriminator
from cyclegan.networks.generator import build_generator


@register_method(PIX2PIX)
class Pix2Pix(Method):
    """G and D, and the objective G* = arg min max L_cGAN(G, D) + lambda L_L1(G) [P eq. 4].

    The noise z of the paper is the dropout within G [P 3.1]. `direction` in the settings says which domain is x.
    """

    discriminators_first: ClassVar[bool] = True  # [R]

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__(networks, loss, channels, seed)
        self.source, self.target = loss.direction.split("to")
        x, y = channels if self.source == "A" else channels[::-1]
        G = build_generator(networks, x, y)
        self.set_networks({"G": G}, {"D": build_discriminator(networks, x + y)}, stacked=(x, y))

    @property
    def G(self) -> nn.Module:
        """The network from x to y."""
        return self.generators["G"]

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """x and y."""
        return batch[self.source], batch[self.target]

    def generate(self, batch: Batch) -> Images:
        """G(x)."""
        x, _ = self.pair(batch)
        return {self.target: self.G(x)}

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """The generator's side of L_cGAN [P eq. 1], and L_L1 = E|y - G(x)| [P eq. 3]."""
        D, fake, weight = self.discriminators["D"], images[self.target], self.settings
        x, y = self.pair(batch)
        return {
            "G_GAN": weight.lambda_gan * self.gan.generator(D(self.augment("D", torch.cat([x, fake], 1)))),
            "G_L1": weight.lambda_l1 * l1(fake, y),
        }

    def discriminators_loss(self, batch: Batch, images: Images) -> Terms:
        """The discriminator's side of L_cGAN [P eq. 1], halved, which slows it down relative to G [P 3.3]."""
        x, y = self.pair(batch)
        real, fake = torch.cat([x, y], 1), torch.cat([x, images[self.target].detach()], 1)
        D = self.discriminators["D"]
        real_logits, fake_logits = forward_batched(D, real, fake, augment=partial(self.augment, "D"))
        self.adapt_augmentation("D", real_logits)
        terms = {"D_real": self.gan.real(real_logits), "D_fake": self.gan.fake(fake_logits)}
        return terms | self.gradient_penalty("D", real, fake)

    def discriminator_inputs(self, batch: Batch, images: Images) -> dict[Direction, RealFake]:
        """(x, y) and (x, G(x))."""
        x, y = self.pair(batch)
        fake = torch.cat([x, images[self.target]], 1)
        return {self.settings.direction: RealFake("D", torch.cat([x, y], 1), fake)}
