"""CUT: contrastive learning for unpaired translation, one way only (Park et al., ECCV 2020) [CUT].

One generator G: x -> y and one discriminator. In place of a way back, each patch of G(x) must be recognizable, among
the patches of x, as the one at its own place: that is PatchNCE. FastCUT is the same with other settings. Loss terms
carry the names that users of the authors' repository know.
"""

from collections.abc import Iterator
from itertools import chain
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from cyclegan.config.schema import Direction, LossConfig, NetworkConfig
from cyclegan.errors import UsageError
from cyclegan.methods import specs
from cyclegan.methods.method import Batch, Case, Images, Method, Terms, together
from cyclegan.methods.registry import register_method
from cyclegan.networks import ResNetGenerator, build_discriminator, build_generator
from cyclegan.networks.layers import initialize

PATCHES = 256  # of each layer of the encoder [CUT 3]
PROJECTED = 256  # dimensions in which patches are compared


@register_method(specs.CUT, specs.FASTCUT)
class CUT(Method):
    """G with its encoder, D, and a small network H_l for each layer l whose patches are compared [CUT 3]."""

    discriminators_first: ClassVar[bool] = True

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__(networks, loss, channels, seed)
        G = build_generator(networks, *channels)
        if not isinstance(G, ResNetGenerator):
            raise UsageError(f"--method {loss.method} needs a ResNet; --generator {networks.generator} is none.")
        self.layers = tuple(int(number) for number in loss.nce_layers.split(","))
        if self.layers[-1] >= len(G.encoder()):
            raise UsageError(f"--nce-layers must be numbers from 0 to {len(G.encoder()) - 1}: layers of the encoder.")
        self.generators = nn.ModuleDict({"G": G})
        self.discriminators = nn.ModuleDict({"D": build_discriminator(networks, channels[1])})
        self.projections = nn.ModuleList(_projection(c) for c in _feature_channels(G, channels[0], self.layers))
        initialize(self.projections, networks.init, networks.init_gain)

    def generators_side(self) -> Iterator[nn.Parameter]:
        """G and the projections learn together."""
        return chain(self.generators.parameters(), self.projections.parameters())

    def generate(self, batch: Batch) -> Images:
        """G(x), and G(y) for the identity. "mirrored" says whether G saw mirror images, as half of FastCUT's do."""
        mirrored = self.settings.flip_equivariance and self.draw.random() < 0.5
        x, y = (batch[d].flip(-1) if mirrored else batch[d] for d in "AB")
        G, flag = self.generators["G"], torch.tensor(mirrored)
        if not self.settings.nce_identity:
            return {"B": G(x), "mirrored": flag}
        fake, same = together(G, x, y)
        return {"B": fake, "same_B": same, "mirrored": flag}

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """L_GAN(G, D) + lambda (PatchNCE(x) + PatchNCE(y)) / 2, the last for the identity [CUT eq. 5]."""
        D, weight, mirrored = self.discriminators["D"], self.settings, bool(images["mirrored"])
        terms = {"G_GAN": weight.lambda_gan * self.gan.generator(D(images["B"]))}
        share = weight.lambda_nce / (2 if weight.nce_identity else 1)
        if weight.lambda_nce > 0:
            terms["NCE"] = share * self.patch_nce(batch["A"], images["B"], mirrored)
            if weight.nce_identity:
                terms["NCE_Y"] = share * self.patch_nce(batch["B"], images["same_B"], mirrored)
        return terms

    def patch_nce(self, source: Tensor, result: Tensor, mirrored: bool) -> Tensor:
        """PatchNCE, the mean over the layers [CUT eq. 4]: each patch of `result` finds its own place in `source`."""
        G, layers = cast(ResNetGenerator, self.generators["G"]), self.layers
        queries = G.features(result, layers)
        with torch.no_grad():
            keys = G.features(source, layers)
        losses = []
        for project, query, key in zip(self.projections, queries, keys, strict=True):
            query = query.flip(-1) if mirrored else query
            places = torch.randperm(query.shape[2] * query.shape[3])[:PATCHES].to(query.device)
            q, k = (normalize(project(patches(each, places)), dim=-1) for each in (query, key))
            losses.append(contrast(q, k.detach(), self.settings.nce_temperature))
        return torch.stack(losses).mean()

    def discriminators_loss(self, batch: Batch, images: Images) -> Terms:
        """The discriminator's side of L_GAN [CUT eq. 1]."""
        ((name, real, fake),) = self.cases(batch, images).values()
        return self.judge(self.discriminators[name], real, fake.detach())

    def cases(self, batch: Batch, images: Images) -> dict[Direction, Case]:
        """D tells y from G(x)."""
        return {"AtoB": ("D", batch["B"], images["B"])}


def patches(features: Tensor, places: Tensor) -> Tensor:
    """(N, C, H, W) at some of its H x W places: (N, places, C)."""
    return features.flatten(2)[:, :, places].transpose(1, 2)


def contrast(q: Tensor, k: Tensor, temperature: float) -> Tensor:
    """InfoNCE of N images' patches (N, P, C): each q must find its own k among those of its image [CUT eq. 3]."""
    similarity = q @ k.transpose(1, 2) / temperature
    own = torch.arange(q.shape[1], device=q.device).expand(len(q), -1)
    return cross_entropy(similarity.flatten(0, 1), own.flatten())


def _projection(channels: int) -> nn.Module:
    return nn.Sequential(nn.Linear(channels, PROJECTED), nn.ReLU(), nn.Linear(PROJECTED, PROJECTED))


def _feature_channels(G: ResNetGenerator, channels: int, layers: tuple[int, ...]) -> list[int]:
    with torch.no_grad():
        return [f.shape[1] for f in G.features(torch.zeros(1, channels, 16, 16), layers)]
