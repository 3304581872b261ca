"""What holds the translations of a two-way method beyond its paper: a few pairs, masks, label maps and structure.

G: X -> Y and F: Y -> X are the generators, S is a segmenter, and P a discriminator of pairs. Each constraint is off
unless its option is given.
"""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cyclegan.config.schema import NetworkConfig
from cyclegan.methods.losses import l1
from cyclegan.methods.method import Batch, Images, Method, Terms, total
from cyclegan.methods.structure import STRUCTURE
from cyclegan.networks.discriminator import build_discriminator
from cyclegan.networks.segmenter import Segmenter

WAYS = (("A", "B"), ("B", "A"))  # source and target
UNLABELED = 255  # in label maps: pixels of no class

# Terms of the generators' loss that only G or only F learns from; those of A are of images translated from A.
TERMS_OF_G, TERMS_OF_F = (
    frozenset(f"{name}_{domain}" for name in ("pairs", "pairs_GAN", "keep", "structure", "labels")) for domain in "AB"
)


def kept_part(masks: Tensor, part: Literal["outside", "inside"]) -> Tensor:
    """How much of each pixel must stay, in [0, 1], by masks in [-1, 1]."""
    white = (masks + 1) / 2
    return white if part == "inside" else 1 - white


def paste(kept: Tensor, inputs: Tensor, images: Tensor) -> Tensor:
    """The images, with the inputs where `kept` is 1."""
    return kept * inputs + (1 - kept) * images


def fake_pair(batch: Batch, images: Images, target: str) -> Tensor:
    """(x, G(x)) for the target B and (F(y), y) for A, as P sees them: the channels of A, then those of B."""
    return torch.cat([(images if domain == target else batch)[f"pairs_{domain}"] for domain in "AB"], 1)


def real_and_fake_pairs(batch: Batch, images: Images) -> tuple[Tensor, Tensor]:
    """What P tells apart: (x, y), twice, from (x, G(x)) and (F(y), y), without gradients to the generators."""
    real = torch.cat([batch["pairs_A"], batch["pairs_B"]], 1)
    return real.repeat(2, 1, 1, 1), torch.cat([fake_pair(batch, images, target).detach() for target in "BA"])


class ConstrainedMethod(Method):
    """A method with the generators G and F. Call `add_critics` after `set_networks`."""

    def add_critics(self, networks: NetworkConfig, channels: tuple[int, int]) -> None:
        """Add to the discriminators what learns from their loss: S with `--labels`, P with `--lambda-pairs-gan`.

        P is pix2pix's discriminator, a PatchGAN that sees both images of a pair.
        """
        if self.settings.labels:
            self.discriminators["S"] = Segmenter(channels[0], max(self.settings.label_classes, 1))
        if self.settings.lambda_pairs_gan > 0:
            P = build_discriminator(replace(networks, discriminator="basic"), sum(channels))
            self.add_discriminator("P", P, stacked=channels)

    def constraint_losses(self, batch: Batch, images: Images) -> Terms:
        """The generators' terms of all constraints."""
        own = self.pairs_loss(batch, images) | self.keep_loss(batch, images)
        return own | self.structure_loss(batch, images) | self.labels_loss(batch, images)

    def translated_pairs(self, batch: Batch) -> Images:
        """G(x) and F(y) of the batch's pairs (x, y), as "pairs_B" and "pairs_A"; empty without pairs."""
        if "pairs_A" not in batch:
            return {}
        G, F, x, y = self.generators["G"], self.generators["F"], batch["pairs_A"], batch["pairs_B"]
        fake_y, fake_x = self.parts(lambda: G(x), lambda: F(y))
        return {"pairs_B": fake_y, "pairs_A": fake_x}

    def pairs_loss(self, batch: Batch, images: Images) -> Terms:
        """lambda_pairs (|G(x) - y| + |F(y) - x|) of the batch's pairs (x, y) [P eq. 3]; the generators' side of P."""
        weight, terms = self.settings, Terms()
        for source, target in WAYS if "pairs_A" in batch else ():
            distance = l1(images[f"pairs_{target}"], batch[f"pairs_{target}"])
            terms[f"pairs_{source}"] = weight.lambda_pairs * distance
            if weight.lambda_pairs_gan > 0:
                logits = self.discriminators["P"](self.augment("P", fake_pair(batch, images, target)))
                terms[f"pairs_GAN_{source}"] = weight.lambda_pairs_gan * self.gan.generator(logits)
        return terms

    def kept(self, batch: Batch, domain: str) -> Tensor | None:
        """How much of each pixel of a domain's images must stay, (N, 1, H, W) in [0, 1]; None without masks."""
        mask = batch.get(f"mask_{domain}")
        if mask is None or self.settings.masks == "off":
            return None
        return kept_part(mask, self.settings.keep_part)

    def pasted(self, batch: Batch, images: Images) -> Images:
        """The translations; with `--masks composite`, the part of the input that must stay is pasted over them."""
        for source, target in WAYS if self.settings.masks == "composite" else ():
            if (kept := self.kept(batch, source)) is not None:
                images[target] = paste(kept, batch[source], images[target])
        return images

    def keep_loss(self, batch: Batch, images: Images) -> Terms:
        """With `--masks loss`, lambda_keep |m (G(x) - x)| where m is 1 in the part that must stay, and of F alike."""
        terms = {}
        for source, target in WAYS if self.settings.masks == "loss" else ():
            if (kept := self.kept(batch, source)) is not None:
                terms[f"keep_{source}"] = self.settings.lambda_keep * l1(kept * images[target], kept * batch[source])
        return terms

    def structure_loss(self, batch: Batch, images: Images) -> Terms:
        """lambda_structure times the distance of the structures of x and G(x), and of y and F(y)."""
        weight = self.settings
        if weight.structure == "off":
            return {}
        distance, x, y = STRUCTURE[weight.structure], batch["A"], batch["B"]
        of_G, of_F = self.parts(lambda: distance(x, images["B"]), lambda: distance(y, images["A"]))
        return {"structure_A": weight.lambda_structure * of_G, "structure_B": weight.lambda_structure * of_F}

    def labels_loss(self, batch: Batch, images: Images) -> Terms:
        """Semantic consistency: cross entropy of S(G(x)) with the labels of x (CyCADA: Hoffman et al. 2018, eq. 4).

        There, S is trained before and read instead of labels; here it is trained alongside, on real images.
        """
        return {
            f"labels_{source}": self.settings.lambda_labels * self.reading_error(images[target], batch, source)
            for source, target in WAYS
            if f"label_{source}" in batch
        }

    def segmenter_loss(self, batch: Batch) -> Terms:
        """Cross entropy of S(x) and S(y) with their labels, the mean over the domains that have labels."""
        labeled = [domain for domain in "AB" if f"label_{domain}" in batch]
        read = {domain: self.reading_error(batch[domain], batch, domain) / len(labeled) for domain in labeled}
        return {"S": total(read)} if read else {}

    def reading_error(self, images: Tensor, batch: Batch, domain: str) -> Tensor:
        """Cross entropy of what S reads in images with the labels of a domain's images; pixels of 255 do not count."""
        labels = ((batch[f"label_{domain}"][:, 0] + 1) * 127.5).round().long()
        return cross_entropy(self.discriminators["S"](images), labels, ignore_index=UNLABELED)
