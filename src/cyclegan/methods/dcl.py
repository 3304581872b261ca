"""DCLGAN: dual contrastive learning for unpaired translation in both directions (Han et al., CVPRW 2021) [DCL].

CycleGAN's networks without its cycle: each patch of G(x) must be recognizable, among the patches of x, as the one at
the same location, and each patch of F(y) among those of y. Unlike in CUT, images of X are encoded by the first half of
G and a projection H_X, images of Y by that of F and H_Y, so each domain has features of its own. Terms are halved as
in the authors' code.
"""

from collections.abc import Iterator
from itertools import chain
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from cyclegan.config.schema import LossConfig, NetworkConfig
from cyclegan.methods.cut import patch_nce, projections, random_locations
from cyclegan.methods.cyclegan import CycleGAN
from cyclegan.methods.losses import l1
from cyclegan.methods.method import Batch, Images, Terms, total
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import DCL
from cyclegan.networks.generator import Generator


@register_method(DCL)
class DCLGAN(CycleGAN):
    """G, F, D_X, D_Y, and H_X and H_Y: a small network for each layer whose patches are compared [DCL 3.2]."""

    discriminators_first: ClassVar[bool] = True

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__(networks, loss, channels, seed)
        G, F = (cast(Generator, self.generators[name]) for name in ("G", "F"))
        self.projections = nn.ModuleDict(
            {"H_X": projections(G, channels[0], networks, loss), "H_Y": projections(F, channels[1], networks, loss)}
        )

    def generator_parameters(self) -> Iterator[nn.Parameter]:
        """Those of G, F and the projections."""
        projections = self.projections.parameters() if self.settings.lambda_nce > 0 else ()
        return chain(self.generators.parameters(), projections)

    def features(self, domain: str, images: Tensor) -> list[Tensor]:
        """Features of images (N, C, H, W) of a domain at each of the layers: by G's encoder for A, by F's for B."""
        generator = cast(Generator, self.generators["G" if domain == "A" else "F"])
        return generator.features(images, self.settings.nce_layers)

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """L_GAN of both + lambda_NCE (PatchNCE_X + PatchNCE_Y) + lambda_idt L_identity, halved [DCL eq. 5]."""
        D_Y, D_X, weight = self.discriminators["D_Y"], self.discriminators["D_X"], self.settings
        terms = {
            "G_A": weight.lambda_gan / 2 * self.gan.generator(D_Y(self.augment("D_Y", images["B"]))),
            "G_B": weight.lambda_gan / 2 * self.gan.generator(D_X(self.augment("D_X", images["A"]))),
        }
        if weight.lambda_nce > 0:
            terms["NCE_A"] = weight.lambda_nce / 2 * self.contrast(batch, images, "A", "B")
            terms["NCE_B"] = weight.lambda_nce / 2 * self.contrast(batch, images, "B", "A")
        if weight.lambda_identity > 0:  # at the end of its schedule too, since metrics keep their columns
            for term, domain in (("idt_A", "B"), ("idt_B", "A")):
                y = batch[domain]
                terms[term] = self.lambda_identity() / 2 * l1(images.get(f"same_{domain}", y), y)
        return terms | self.constraint_losses(batch, images)

    def contrast(self, batch: Batch, images: Images, source: str, target: str) -> Tensor:
        """PatchNCE of the translations to `target` against their inputs from `source` [DCL eq. 2 and 3]."""
        heads = {"A": self.projections["H_X"], "B": self.projections["H_Y"]}
        queries = self.features(target, images[target])
        with torch.no_grad():
            keys = self.features(source, batch[source])
        project_query, project_key = (cast(nn.ModuleList, heads[domain]) for domain in (target, source))
        locations = [random_locations(query) for query in queries]
        return patch_nce(queries, keys, project_query, project_key, locations, self.settings.nce_temperature)

    def independent_losses(self, terms: Terms) -> list[Tensor]:
        """Those of each discriminator; the generators share gradients, since either encodes the other's images."""
        return super().independent_losses(terms) if "D_A" in terms else [total(terms)]
