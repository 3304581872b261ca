"""CycleGAN: unpaired translation by cycle-consistent adversarial networks (Zhu et al., ICCV 2017) [C].

Two generators G: X -> Y and F: Y -> X, and two discriminators: D_Y tells images y from G(x), D_X tells x from F(y).
The data set's folders A and B are X and Y. Loss terms are named as in the authors' repository [R].
"""

from functools import partial

from torch import Tensor, nn

from cyclegan.config.schema import Direction, LossConfig, NetworkConfig
from cyclegan.methods.constraints import TERMS_OF_F, TERMS_OF_G, ConstrainedMethod, paste, real_and_fake_pairs
from cyclegan.methods.history import ImageHistory
from cyclegan.methods.losses import l1
from cyclegan.methods.method import Batch, Images, RealFake, Terms, forward_batched, total
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import CYCLEGAN
from cyclegan.networks.discriminator import build_discriminator
from cyclegan.networks.generator import build_generator


@register_method(CYCLEGAN)
class CycleGAN(ConstrainedMethod):
    """G, F, D_X and D_Y, the full objective [C eq. 3], and the identity loss [C 5.2]."""

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__(networks, loss, channels, seed)
        x, y = channels
        self.set_networks(
            {"G": build_generator(networks, x, y), "F": build_generator(networks, y, x)},
            {"D_Y": build_discriminator(networks, y), "D_X": build_discriminator(networks, x)},
        )
        self.add_critics(networks, channels)
        self.histories = {domain: ImageHistory(loss.pool_size, self.rng) for domain in ("B", "A")}

    def lambda_identity(self) -> float:
        """The current weight of the identity loss, relative to the cycle's."""
        until = self.settings.identity_until
        return self.settings.lambda_identity * (1.0 if until is None else max(0.0, 1 - self.progress / until))

    def generate(self, batch: Batch) -> Images:
        """G(x) and F(y), of pairs too; with the identity loss also G(y) and F(x), in the same passes."""
        G, F = self.generators["G"], self.generators["F"]
        x, y = batch["A"], batch["B"]
        if self.lambda_identity() == 0:
            fake_y, fake_x = self.parts(lambda: G(x), lambda: F(y))
            return self.pasted(batch, {"B": fake_y, "A": fake_x}) | self.translated_pairs(batch)
        of_G, of_F = self.parts(lambda: forward_batched(G, x, y), lambda: forward_batched(F, y, x))
        images = {"B": of_G[0], "A": of_F[0], "same_B": of_G[1], "same_A": of_F[1]}
        return self.pasted(batch, images) | self.translated_pairs(batch)

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """L_GAN(G, D_Y) + L_GAN(F, D_X) + lambda L_cyc(G, F) + L_identity [C eq. 3 and 5.2]."""
        G, F = self.generators["G"], self.generators["F"]
        D_Y, D_X = self.discriminators["D_Y"], self.discriminators["D_X"]
        x, y, fake_x, fake_y, weight = batch["A"], batch["B"], images["A"], images["B"], self.settings
        # A generator that is not trained to be invertible hides nothing of its input in its output.
        seen_x, seen_y = (fake_x.detach(), fake_y.detach()) if weight.detach_cycle else (fake_x, fake_y)
        of_G, of_F = self.parts(
            lambda: (self.gan.generator(D_Y(self.augment("D_Y", fake_y))), l1(G(seen_x), y)),
            lambda: (self.gan.generator(D_X(self.augment("D_X", fake_x))), l1(F(seen_y), x)),
        )
        terms = {
            "G_A": weight.lambda_gan * of_G[0],
            "G_B": weight.lambda_gan * of_F[0],
            "cycle_A": weight.lambda_a * of_F[1],
            "cycle_B": weight.lambda_b * of_G[1],
        }
        if weight.lambda_identity > 0:  # at the end of its schedule too, since metrics keep their columns
            terms["idt_A"] = self.lambda_identity() * weight.lambda_b * l1(images.get("same_B", y), y)
            terms["idt_B"] = self.lambda_identity() * weight.lambda_a * l1(images.get("same_A", x), x)
        return terms | self.constraint_losses(batch, images)

    def discriminators_loss(self, batch: Batch, images: Images) -> Terms:
        """The discriminators' side of L_GAN [C eq. 1, 4], on fakes from the history. Term D_A is of D_Y [R]."""

        def loss(name: str, real: Tensor, fake: Tensor) -> Tensor:
            augment = partial(self.augment, name)
            real_logits, fake_logits = forward_batched(self.discriminators[name], real, fake, augment=augment)
            self.adapt_augmentation(name, real_logits)
            terms = {"real": self.gan.real(real_logits), "fake": self.gan.fake(fake_logits)}
            return total(terms | self.gradient_penalty(name, real, fake))

        fake_y, fake_x = (self.histories[domain].query(images[domain].detach()) for domain in ("B", "A"))
        of_Y, of_X = self.parts(lambda: loss("D_Y", batch["B"], fake_y), lambda: loss("D_X", batch["A"], fake_x))
        terms = {"D_A": of_Y, "D_B": of_X} | self.segmenter_loss(batch)
        if self.settings.lambda_pairs_gan > 0:
            terms["D_pairs"] = loss("P", *real_and_fake_pairs(batch, images))  # [P eq. 1]
        return terms

    def independent_losses(self, terms: Terms) -> list[Tensor]:
        """Those of each discriminator; with a detached cycle, those of each generator."""
        parts = (
            {"G_A", "cycle_B", "idt_A", "D_A"} | TERMS_OF_G,
            {"G_B", "cycle_A", "idt_B", "D_B"} | TERMS_OF_F,
            {"S"},
            {"D_pairs"},
        )
        shared = "cycle_A" in terms and not self.settings.detach_cycle
        if shared or terms.keys() - set().union(*parts):  # a subclass may have terms of its own
            return [total(terms)]
        losses = ({name: term for name, term in terms.items() if name in part} for part in parts)
        return [total(loss) for loss in losses if loss]

    def discriminator_inputs(self, batch: Batch, images: Images) -> dict[Direction, RealFake]:
        """D_Y sees y and G(x), D_X sees x and F(y)."""
        return {
            "AtoB": RealFake("D_Y", batch["B"], images["B"]),
            "BtoA": RealFake("D_X", batch["A"], images["A"]),
        }

    def sample_columns(
        self, generators: nn.ModuleDict, images: Tensor, direction: Direction, kept: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The input, its translation, its reconstruction, and the identity image."""
        back: Direction = "BtoA" if direction == "AtoB" else "AtoB"
        fake = self.translate(generators, images, direction)
        fake = fake if kept is None else paste(kept, images, fake)
        columns = {"input": images, "translated": fake, "and back": self.translate(generators, fake, back)}
        if images.shape[1] == fake.shape[1]:
            columns["identity"] = self.translate(generators, images, back)
        return columns
