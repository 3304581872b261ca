"""CycleGAN: unpaired translation by cycle-consistent adversarial networks (Zhu et al., ICCV 2017) [C].

Two generators G: X -> Y and F: Y -> X, and two discriminators: D_Y tells images y from G(x), D_X tells x from F(y).
The data sets' folders A and B are X and Y. Loss terms carry the names that users of the authors' repository know.
"""

import random
from typing import ClassVar

import torch
from torch import Tensor, nn

from cyclegan.config import LossConfig, NetworkConfig
from cyclegan.methods.history import ImageHistory
from cyclegan.methods.losses import OBJECTIVES, gradient_penalty
from cyclegan.networks import build_discriminator, build_generator

Batch = dict[str, Tensor]  # "A" and "B": (N, C, H, W) in [-1, 1]
Fakes = dict[str, Tensor]  # "A" and "B": generated images of that domain
Terms = dict[str, Tensor]  # scalars, already weighted; their sum is what is optimised


class CycleGAN(nn.Module):
    """Owns G, F, D_X and D_Y and says what each side's loss is. Training them is somebody else's work."""

    directions: ClassVar[dict[str, str]] = {"AtoB": "G", "BtoA": "F"}

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__()
        x, y = channels
        self.generators = nn.ModuleDict({"G": build_generator(networks, x, y), "F": build_generator(networks, y, x)})
        self.discriminators = nn.ModuleDict(
            {"D_Y": build_discriminator(networks, y), "D_X": build_discriminator(networks, x)}
        )
        self.settings = loss
        self.gan = OBJECTIVES[loss.objective]
        self.draw = random.Random(seed)
        self.histories = {d: ImageHistory(loss.pool_size, self.draw) for d in ("B", "A")}

    def generators_loss(self, batch: Batch) -> tuple[Terms, Fakes]:
        """L_GAN(G, D_Y) + L_GAN(F, D_X) + lambda L_cyc(G, F) + L_identity [C eq. 3 and 5.2], and the fakes."""
        G, F = self.generators["G"], self.generators["F"]
        D_Y, D_X = self.discriminators["D_Y"], self.discriminators["D_X"]
        x, y, weight = batch["A"], batch["B"], self.settings
        identity = weight.lambda_identity > 0
        fake_y, *same_y = together(G, x, y) if identity else (G(x),)
        fake_x, *same_x = together(F, y, x) if identity else (F(y),)
        terms = {
            "G_A": self.gan.generator(D_Y(fake_y)),
            "G_B": self.gan.generator(D_X(fake_x)),
            "cycle_A": weight.lambda_a * l1(F(fake_y), x),
            "cycle_B": weight.lambda_b * l1(G(fake_x), y),
        }
        if identity:
            terms["idt_A"] = weight.lambda_identity * weight.lambda_b * l1(same_y[0], y)
            terms["idt_B"] = weight.lambda_identity * weight.lambda_a * l1(same_x[0], x)
        return terms, {"A": fake_x.detach(), "B": fake_y.detach()}

    def discriminators_loss(self, batch: Batch, fakes: Fakes) -> Terms:
        """The discriminators' side of L_GAN [C eq. 1 and 4], on fakes from the history. D_A judges B, as in [R]."""
        D_Y, D_X = self.discriminators["D_Y"], self.discriminators["D_X"]
        return {
            "D_A": self._judge(D_Y, batch["B"], self.histories["B"].exchange(fakes["B"])),
            "D_B": self._judge(D_X, batch["A"], self.histories["A"].exchange(fakes["A"])),
        }

    def _judge(self, D: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        loss = self.gan.discriminator(*together(D, real, fake))
        if self.settings.objective == "wgangp":
            loss = loss + self.settings.lambda_gp * gradient_penalty(D, real, fake)
        return loss

    @classmethod
    def translate(cls, generators: nn.ModuleDict, images: Tensor, direction: str) -> Tensor:
        """G(x) for "AtoB", F(y) for "BtoA", by these generators (trained or averaged)."""
        fakes: Tensor = generators[cls.directions[direction]](images)
        return fakes

    @classmethod
    def pictures(cls, generators: nn.ModuleDict, images: Tensor, direction: str) -> dict[str, Tensor]:
        """What there is to see of a batch: the input, its translation, the way back, and the identity image."""
        back = "BtoA" if direction == "AtoB" else "AtoB"
        fake = cls.translate(generators, images, direction)
        seen = {"input": images, "translated": fake, "and back": cls.translate(generators, fake, back)}
        if images.shape[1] == fake.shape[1]:
            seen["identity"] = cls.translate(generators, images, back)
        return seen


def l1(a: Tensor, b: Tensor) -> Tensor:
    """The mean absolute difference."""
    return (a - b).abs().mean()


def together(network: nn.Module, *batches: Tensor) -> tuple[Tensor, ...]:
    """``network(batch)`` for each batch, in one pass where that is the same.

    It is the same when every image is treated alone, which batch norm does not, and the batches have one shape.
    """
    alone = not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    if not alone or len({b.shape[1:] for b in batches}) > 1:
        return tuple(network(b) for b in batches)
    return network(torch.cat(batches)).split([len(b) for b in batches])
