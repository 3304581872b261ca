"""CycleGAN: unpaired translation by cycle-consistent adversarial networks (Zhu et al., ICCV 2017) [C].

Two generators G: X -> Y and F: Y -> X, and two discriminators: D_Y tells images y from G(x), D_X tells x from F(y).
The data sets' folders A and B are X and Y. Loss terms carry the names that users of the authors' repository know.
"""

from torch import Tensor, nn

from cyclegan.config.schema import Direction, LossConfig, NetworkConfig
from cyclegan.methods.history import ImageHistory
from cyclegan.methods.losses import l1
from cyclegan.methods.method import Batch, Case, Images, Method, Terms, together, total
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import CYCLEGAN
from cyclegan.networks import build_discriminator, build_generator


@register_method(CYCLEGAN)
class CycleGAN(Method):
    """G, F, D_X and D_Y, the full objective [C eq. 3], and the identity loss [C 5.2]."""

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__(networks, loss, channels, seed)
        x, y = channels
        self.generators = nn.ModuleDict({"G": build_generator(networks, x, y), "F": build_generator(networks, y, x)})
        self.discriminators = nn.ModuleDict(
            {"D_Y": build_discriminator(networks, y), "D_X": build_discriminator(networks, x)}
        )
        self.histories = {d: ImageHistory(loss.pool_size, self.draw) for d in ("B", "A")}

    def generate(self, batch: Batch) -> Images:
        """G(x) and F(y); with the identity loss G(y) and F(x) too, which share a pass with them."""
        G, F = self.generators["G"], self.generators["F"]
        x, y = batch["A"], batch["B"]
        if self.settings.lambda_identity == 0:
            return {"B": G(x), "A": F(y)}
        fake_y, same_y = together(G, x, y)
        fake_x, same_x = together(F, y, x)
        return {"B": fake_y, "A": fake_x, "same_B": same_y, "same_A": same_x}

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """L_GAN(G, D_Y) + L_GAN(F, D_X) + lambda L_cyc(G, F) + L_identity [C eq. 3 and 5.2]."""
        G, F = self.generators["G"], self.generators["F"]
        D_Y, D_X = self.discriminators["D_Y"], self.discriminators["D_X"]
        x, y, fake_x, fake_y, weight = batch["A"], batch["B"], images["A"], images["B"], self.settings
        terms = {
            "G_A": weight.lambda_gan * self.gan.generator(D_Y(fake_y)),
            "G_B": weight.lambda_gan * self.gan.generator(D_X(fake_x)),
            "cycle_A": weight.lambda_a * l1(F(fake_y), x),
            "cycle_B": weight.lambda_b * l1(G(fake_x), y),
        }
        if weight.lambda_identity > 0:
            terms["idt_A"] = weight.lambda_identity * weight.lambda_b * l1(images["same_B"], y)
            terms["idt_B"] = weight.lambda_identity * weight.lambda_a * l1(images["same_A"], x)
        return terms

    def discriminators_loss(self, batch: Batch, images: Images) -> Terms:
        """The discriminators' side of L_GAN [C eq. 1 and 4], on fakes from the history. D_A judges B, as in [R]."""
        terms = {}
        for direction, (name, real, fake) in self.cases(batch, images).items():
            source, target = direction.split("to")
            older = self.histories[target].exchange(fake.detach())
            terms[f"D_{source}"] = total(self.judge(self.discriminators[name], real, older))
        return terms

    def cases(self, batch: Batch, images: Images) -> dict[Direction, Case]:
        """D_Y tells y from G(x), D_X tells x from F(y)."""
        return {"AtoB": ("D_Y", batch["B"], images["B"]), "BtoA": ("D_X", batch["A"], images["A"])}

    def pictures(self, generators: nn.ModuleDict, images: Tensor, direction: Direction) -> dict[str, Tensor]:
        """What there is to see of a batch: the input, its translation, the way back, and the identity image."""
        back: Direction = "BtoA" if direction == "AtoB" else "AtoB"
        fake = self.translate(generators, images, direction)
        seen = {"input": images, "translated": fake, "and back": self.translate(generators, fake, back)}
        if images.shape[1] == fake.shape[1]:
            seen["identity"] = self.translate(generators, images, back)
        return seen
