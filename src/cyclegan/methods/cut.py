"""CUT: contrastive learning for unpaired translation in one direction (Park et al., ECCV 2020) [CUT].

One generator G: x -> y and one discriminator. Instead of a cycle, each patch of G(x) must be recognizable, among the
patches of x, as the one at the same location: that is PatchNCE. FastCUT differs in its settings. Loss terms are named
as in the authors' repository.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from cyclegan.config.schema import Direction, LossConfig, NetworkConfig
from cyclegan.errors import UsageError
from cyclegan.methods import specs
from cyclegan.methods.method import Batch, Images, Method, RealFake, Terms, forward_batched
from cyclegan.methods.registry import register_method
from cyclegan.networks.discriminator import build_discriminator
from cyclegan.networks.generator import Generator, build_generator
from cyclegan.networks.layers import initialize

PATCHES = 256  # per layer of the encoder [CUT 3]
PROJECTION_SIZE = 256  # dimensions of the embedding in which patches are compared


class MirroredImages(Images):
    """Translations of mirror images, as half of FastCUT's are."""


@register_method(specs.CUT, specs.FASTCUT)
class CUT(Method):
    """G with its encoder, D, and a small network H_l for each layer l whose patches are compared [CUT 3]."""

    discriminators_first: ClassVar[bool] = True

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__(networks, loss, channels, seed)
        G = build_generator(networks, *channels)
        self.set_networks({"G": G}, {"D": build_discriminator(networks, channels[1])})
        self.projections = projections(G, channels[0], networks, loss)

    def generator_parameters(self) -> Iterator[nn.Parameter]:
        """Those of G and the projections."""
        projections = self.projections.parameters() if self.settings.lambda_nce > 0 else ()
        return chain(self.generators.parameters(), projections)

    def generate(self, batch: Batch) -> Images:
        """G(x), and G(y) for the identity; of mirror images at random with `flip_equivariance`."""
        mirror = self.settings.flip_equivariance and self.rng.random() < 0.5
        x, y = (batch[domain].flip(-1) if mirror else batch[domain] for domain in "AB")
        G, images = self.generators["G"], MirroredImages() if mirror else Images()
        if self.settings.nce_identity:
            images["B"], images["same_B"] = forward_batched(G, x, y)
        else:
            images["B"] = G(x)
        return images

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """L_GAN(G, D) + lambda (PatchNCE(x) + PatchNCE(y)) / 2, the latter for the identity [CUT eq. 5]."""
        D, weight, mirrored = self.discriminators["D"], self.settings, isinstance(images, MirroredImages)
        terms = {"G_GAN": weight.lambda_gan * self.gan.generator(D(self.augment("D", images["B"])))}
        lambda_nce = weight.lambda_nce / (2 if weight.nce_identity else 1)
        if weight.lambda_nce > 0:
            terms["NCE"] = lambda_nce * self.patch_nce(batch["A"], images["B"], mirrored)
            if weight.nce_identity:
                terms["NCE_Y"] = lambda_nce * self.patch_nce(batch["B"], images["same_B"], mirrored)
        return terms

    def patch_nce(self, source: Tensor, result: Tensor, mirrored: bool) -> Tensor:
        """PatchNCE, the mean over the layers [CUT eq. 4]: patches of `result` against those of `source`."""
        G, layers = cast(Generator, self.generators["G"]), self.settings.nce_layers
        queries = [query.flip(-1) if mirrored else query for query in G.features(result, layers)]
        with torch.no_grad():
            keys = G.features(source, layers)
        locations = [random_locations(query) for query in queries]
        heads = self.projections
        return patch_nce(queries, keys, heads, heads, locations, self.settings.nce_temperature)

    def discriminators_loss(self, batch: Batch, images: Images) -> Terms:
        """The discriminator's side of L_GAN [CUT eq. 1]."""
        y, fake = batch["B"], images["B"].detach()
        D = self.discriminators["D"]
        real_logits, fake_logits = forward_batched(D, y, fake, augment=partial(self.augment, "D"))
        self.adapt_augmentation("D", real_logits)
        terms = {"D_real": self.gan.real(real_logits), "D_fake": self.gan.fake(fake_logits)}
        return terms | self.gradient_penalty("D", y, fake)

    def discriminator_inputs(self, batch: Batch, images: Images) -> dict[Direction, RealFake]:
        """y and G(x)."""
        return {"AtoB": RealFake("D", batch["B"], images["B"])}


def projections(encoder: Generator, channels: int, networks: NetworkConfig, loss: LossConfig) -> nn.ModuleList:
    """A network H_l from the features of an encoder's layer l, at one location, to an embedding, for each layer.

    Raises `UsageError` if the generator has no such layers.
    """
    count, layers = len(encoder.encoder()), loss.nce_layers
    if not count:
        raise UsageError(
            f"--method {loss.method} compares features of an encoder, and --generator {networks.generator} has none; "
            "use a ResNet or space_to_depth."
        )
    if layers[-1] >= count:
        raise UsageError(f"--nce-layers must be numbers from 0 to {count - 1}: layers of the encoder.")
    with torch.no_grad():
        widths = [f.shape[1] for f in encoder.features(torch.zeros(1, channels, 16, 16), layers)]
    heads = nn.ModuleList(
        nn.Sequential(nn.Linear(width, PROJECTION_SIZE), nn.ReLU(), nn.Linear(PROJECTION_SIZE, PROJECTION_SIZE))
        for width in widths
    )
    initialize(heads, networks.init, networks.init_gain)
    return heads


def random_locations(features: Tensor) -> Tensor:
    """Up to `PATCHES` locations in features (N, C, H, W), as indices into H x W, drawn on the CPU."""
    return torch.randperm(features.shape[2] * features.shape[3])[:PATCHES].to(features.device)


def patch_nce(
    queries: Sequence[Tensor],
    keys: Sequence[Tensor],
    project_query: nn.ModuleList,
    project_key: nn.ModuleList,
    locations: Sequence[Tensor],
    temperature: float,
) -> Tensor:
    """PatchNCE, the mean over the layers [CUT eq. 4]; features (N, C, H, W) of each layer, no gradients to the keys."""
    losses = []
    for query, key, of_query, of_key, at in zip(queries, keys, project_query, project_key, locations, strict=True):
        q = normalize(of_query(patches(query, at)), dim=-1)
        k = normalize(of_key(patches(key, at)), dim=-1)
        losses.append(info_nce(q, k.detach(), temperature))
    return torch.stack(losses).mean()


def patches(features: Tensor, locations: Tensor) -> Tensor:
    """(N, C, H, W) at some of the H x W locations: (N, locations, C)."""
    return features.flatten(2)[:, :, locations].transpose(1, 2)


def info_nce(q: Tensor, k: Tensor, temperature: float) -> Tensor:
    """InfoNCE of N images' patches (N, P, C): each q against all k of its image; its own is the positive [eq. 3]."""
    similarity = q @ k.transpose(1, 2) / temperature
    own = torch.arange(q.shape[1], device=q.device).expand(len(q), -1)
    return cross_entropy(similarity.flatten(0, 1), own.flatten())
