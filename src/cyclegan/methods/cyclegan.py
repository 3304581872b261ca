"""CycleGAN: unpaired translation by cycle-consistent adversarial networks (Zhu et al., ICCV 2017) [C].

Two generators G: X -> Y and F: Y -> X, and two discriminators: D_Y tells images y from G(x), D_X tells x from F(y).
The data set's folders A and B are X and Y. Loss terms are named as in the authors' repository [R].
"""

from functools import partial

from torch import Tensor, nn

from cyclegan.config.schema import Direction, LossConfig, NetworkConfig
from cyclegan.methods.history import ImageHistory
from cyclegan.methods.losses import l1
from cyclegan.methods.method import Batch, Images, Method, RealFake, Terms, forward_batched, total
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import CYCLEGAN
from cyclegan.networks.discriminator import build_discriminator
from cyclegan.networks.generator import build_generator


@register_method(CYCLEGAN)
class CycleGAN(Method):
    """G, F, D_X and D_Y, the full objective [C eq. 3], and the identity loss [C 5.2]."""

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__(networks, loss, channels, seed)
        x, y = channels
        self.set_networks(
            {"G": build_generator(networks, x, y), "F": build_generator(networks, y, x)},
            {"D_Y": build_discriminator(networks, y), "D_X": build_discriminator(networks, x)},
        )
        self.histories = {domain: ImageHistory(loss.pool_size, self.rng) for domain in ("B", "A")}

    def lambda_identity(self) -> float:
        """The current weight of the identity loss, relative to the cycle's."""
        until = self.settings.identity_until
        return self.settings.lambda_identity * (1.0 if until is None else max(0.0, 1 - self.progress / until))

    def generate(self, batch: Batch) -> Images:
        """G(x) and F(y); with the identity loss also G(y) and F(x), in the same passes."""
        G, F = self.generators["G"], self.generators["F"]
        x, y = batch["A"], batch["B"]
        if self.lambda_identity() == 0:
            return {"B": G(x), "A": F(y)}
        fake_y, same_y = forward_batched(G, x, y)
        fake_x, same_x = forward_batched(F, y, x)
        return {"B": fake_y, "A": fake_x, "same_B": same_y, "same_A": same_x}

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """L_GAN(G, D_Y) + L_GAN(F, D_X) + lambda L_cyc(G, F) + L_identity [C eq. 3 and 5.2]."""
        G, F = self.generators["G"], self.generators["F"]
        D_Y, D_X = self.discriminators["D_Y"], self.discriminators["D_X"]
        x, y, fake_x, fake_y, weight = batch["A"], batch["B"], images["A"], images["B"], self.settings
        terms = {
            "G_A": weight.lambda_gan * self.gan.generator(D_Y(self.augment("D_Y", fake_y))),
            "G_B": weight.lambda_gan * self.gan.generator(D_X(self.augment("D_X", fake_x))),
            "cycle_A": weight.lambda_a * l1(F(fake_y), x),
            "cycle_B": weight.lambda_b * l1(G(fake_x), y),
        }
        if weight.lambda_identity > 0:  # at the end of its schedule too, since metrics keep their columns
            terms["idt_A"] = self.lambda_identity() * weight.lambda_b * l1(images.get("same_B", y), y)
            terms["idt_B"] = self.lambda_identity() * weight.lambda_a * l1(images.get("same_A", x), x)
        return terms

    def discriminators_loss(self, batch: Batch, images: Images) -> Terms:
        """The discriminators' side of L_GAN [C eq. 1, 4], on fakes from the history. Term D_A is of D_Y [R]."""
        losses = {}
        for term, name, domain in (("D_A", "D_Y", "B"), ("D_B", "D_X", "A")):
            D, real = self.discriminators[name], batch[domain]
            fake = self.histories[domain].query(images[domain].detach())
            real_logits, fake_logits = forward_batched(D, real, fake, augment=partial(self.augment, name))
            self.adapt_augmentation(name, real_logits)
            terms = {"real": self.gan.real(real_logits), "fake": self.gan.fake(fake_logits)}
            losses[term] = total(terms | self.gradient_penalty(name, real, fake))
        return losses

    def discriminator_inputs(self, batch: Batch, images: Images) -> dict[Direction, RealFake]:
        """D_Y sees y and G(x), D_X sees x and F(y)."""
        return {
            "AtoB": RealFake("D_Y", batch["B"], images["B"]),
            "BtoA": RealFake("D_X", batch["A"], images["A"]),
        }

    def sample_columns(self, generators: nn.ModuleDict, images: Tensor, direction: Direction) -> dict[str, Tensor]:
        """The input, its translation, its reconstruction, and the identity image."""
        back: Direction = "BtoA" if direction == "AtoB" else "AtoB"
        fake = self.translate(generators, images, direction)
        columns = {"input": images, "translated": fake, "and back": self.translate(generators, fake, back)}
        if images.shape[1] == fake.shape[1]:
            columns["identity"] = self.translate(generators, images, back)
        return columns
