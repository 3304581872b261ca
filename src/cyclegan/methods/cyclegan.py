"""CycleGAN: unpaired translation by cycle-consistent adversarial networks (Zhu et al., ICCV 2017) [C].

Two generators G: X -> Y and F: Y -> X, and two discriminators: D_Y tells images y from G(x), D_X tells x from F(y).
The data set's folders A and B are X and Y. Loss terms are named as in the authors' repository [R].
"""

from functools import partial

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cyclegan.config.schema import Direction, LossConfig, NetworkConfig
from cyclegan.methods.history import ImageHistory
from cyclegan.methods.losses import l1
from cyclegan.methods.method import Batch, Images, Method, RealFake, Terms, forward_batched, total
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import CYCLEGAN
from cyclegan.methods.structure import STRUCTURE
from cyclegan.networks.discriminator import build_discriminator
from cyclegan.networks.generator import build_generator
from cyclegan.networks.segmenter import Segmenter

UNLABELED = 255  # in label maps: pixels of no class


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
        if loss.labels:  # with the discriminators, since it learns from their loss, and not from the generators'
            self.discriminators["S"] = Segmenter(x, max(loss.label_classes, 1))
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
            fake_y, fake_x = self.parts(lambda: G(x), lambda: F(y))
            return self.pasted(batch, {"B": fake_y, "A": fake_x})
        of_G, of_F = self.parts(lambda: forward_batched(G, x, y), lambda: forward_batched(F, y, x))
        return self.pasted(batch, {"B": of_G[0], "A": of_F[0], "same_B": of_G[1], "same_A": of_F[1]})

    def kept(self, batch: Batch, domain: str) -> Tensor | None:
        """How much of each pixel of a domain's images must stay, (N, 1, H, W) in [0, 1]; None without masks."""
        mask = batch.get(f"mask_{domain}")
        if mask is None or self.settings.masks == "off":
            return None
        white = (mask + 1) / 2
        return white if self.settings.keep_part == "inside" else 1 - white

    def pasted(self, batch: Batch, images: Images) -> Images:
        """The translations; with `--masks composite`, the part of the input that must stay is pasted over them."""
        for source, target in (("A", "B"), ("B", "A")) if self.settings.masks == "composite" else ():
            if (kept := self.kept(batch, source)) is not None:
                images[target] = kept * batch[source] + (1 - kept) * images[target]
        return images

    def keep_loss(self, batch: Batch, images: Images) -> Terms:
        """With `--masks loss`, lambda_keep |m (G(x) - x)| where m is 1 in the part that must stay, and of F alike."""
        terms = {}
        for source, target in (("A", "B"), ("B", "A")) if self.settings.masks == "loss" else ():
            if (kept := self.kept(batch, source)) is not None:
                terms[f"keep_{source}"] = self.settings.lambda_keep * l1(kept * images[target], kept * batch[source])
        return terms

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
        return terms | self.extra_losses(batch, images)

    def extra_losses(self, batch: Batch, images: Images) -> Terms:
        """What the paper does not have: the terms of --pairs, --masks loss and --structure."""
        own = self.pairs_loss(batch) | self.keep_loss(batch, images)
        return own | self.structure_loss(batch, images) | self.labels_loss(batch, images)

    def labels_loss(self, batch: Batch, images: Images) -> Terms:
        """Semantic consistency: cross entropy of S(G(x)) with the labels of x (CyCADA: Hoffman et al. 2018, eq. 4).

        There, S is trained before and read instead of labels; here it is trained alongside, on real images.
        """
        return {
            f"labels_{source}": self.settings.lambda_labels * self.reading_error(images[target], batch, source)
            for source, target in (("A", "B"), ("B", "A"))
            if f"label_{source}" in batch
        }

    def reading_error(self, images: Tensor, batch: Batch, domain: str) -> Tensor:
        """Cross entropy of what S reads in images with the labels of a domain's images; pixels of 255 do not count."""
        labels = ((batch[f"label_{domain}"][:, 0] + 1) * 127.5).round().long()
        return cross_entropy(self.discriminators["S"](images), labels, ignore_index=UNLABELED)

    def structure_loss(self, batch: Batch, images: Images) -> Terms:
        """lambda_structure times the distance of the structures of x and G(x), and of y and F(y)."""
        weight = self.settings
        if weight.structure == "off":
            return {}
        distance, (x, y) = STRUCTURE[weight.structure], (batch["A"], batch["B"])
        of_G, of_F = self.parts(lambda: distance(x, images["B"]), lambda: distance(y, images["A"]))
        return {"structure_A": weight.lambda_structure * of_G, "structure_B": weight.lambda_structure * of_F}

    def pairs_loss(self, batch: Batch) -> Terms:
        """lambda_pairs (|G(x) - y| + |F(y) - x|) of the batch's pairs (x, y) [P eq. 3]; no terms without pairs."""
        if "pairs_A" not in batch:
            return {}
        G, F, x, y = self.generators["G"], self.generators["F"], batch["pairs_A"], batch["pairs_B"]
        of_G, of_F = self.parts(lambda: l1(G(x), y), lambda: l1(F(y), x))
        return {"pairs_A": self.settings.lambda_pairs * of_G, "pairs_B": self.settings.lambda_pairs * of_F}

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
        labeled = [domain for domain in "AB" if f"label_{domain}" in batch]
        read = {domain: self.reading_error(batch[domain], batch, domain) / len(labeled) for domain in labeled}
        return {"D_A": of_Y, "D_B": of_X} | ({"S": total(read)} if read else {})

    def independent_losses(self, terms: Terms) -> list[Tensor]:
        """Those of each discriminator; with a detached cycle, those of each generator."""
        if "cycle_A" in terms and not self.settings.detach_cycle:
            return [total(terms)]
        parts = (
            {"G_A", "cycle_B", "idt_A", "pairs_A", "keep_A", "structure_A", "labels_A", "D_A"},
            {"G_B", "cycle_A", "idt_B", "pairs_B", "keep_B", "structure_B", "labels_B", "D_B"},
            {"S"},
        )
        losses = ({name: term for name, term in terms.items() if name in part} for part in parts)
        return [total(loss) for loss in losses if loss]

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
