"""Distillation: a light generator, the student G, learns the translations of a trained one, the teacher T.

Pairs are not needed: T(x) is the target of each image x. G is held to it in pixels, in structure (SSIM) and in
features, which 1x1 convolutions map from the student's channels to the teacher's; and a discriminator, which starts
from the teacher's own, tells G(x) from images y (Li et al., "GAN Compression", CVPR 2020, section 3.1 [GC]; SSIM as
in Ren et al., "Online Multi-Granularity Distillation", ICCV 2021).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from cyclegan.config.schema import Direction, LossConfig, NetworkConfig
from cyclegan.methods.losses import l1
from cyclegan.methods.method import Batch, Images, Method, RealFake, Terms, forward_batched
from cyclegan.methods.registry import register_method
from cyclegan.methods.specs import DISTILL
from cyclegan.metrics.similarity import ssim_map
from cyclegan.networks.channels_last import computes_on_cpu
from cyclegan.networks.cpu.layers import Layer
from cyclegan.networks.cpu.rewrite import is_rewritable, rewrite, run
from cyclegan.networks.discriminator import build_discriminator
from cyclegan.networks.generator import ColorSpaceGenerator, Generator, build_generator
from cyclegan.networks.layers import pad_to_multiple

STUDENT = "student features"  # prefix of the student's features among the generated images


class Part(nn.Module):
    """Some of a frozen generator's stages; on a CPU as `networks.cpu.rewrite` computes them."""

    def __init__(self, stages: Sequence[nn.Module], rewritable: bool):
        super().__init__()
        self.stages, self.rewritable = nn.Sequential(*stages), rewritable
        self.layers: list[Layer] = []

    def forward(self, x: Tensor) -> Tensor:
        """The output of the last stage."""
        if not (self.rewritable and computes_on_cpu(x, next(self.parameters()))):
            y: Tensor = self.stages(x)
            return y
        self.layers = self.layers or rewrite([self.stages])  # now that the teacher's weights are loaded
        return run(self.layers, x)


class Teacher(nn.Module):
    """The frozen teacher, and the 1x1 convolutions from the student's features to the teacher's, which learn.

    Features are compared where both networks have their lowest resolution: after the first and the last stage there. A
    network of one stage has none.
    """

    def __init__(self, network: Generator, student: Generator, channels: int):
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        theirs, ours = (deepest_stages(each, channels) for each in (network, student))
        self.student_stages = tuple(ours) if theirs else ()
        core, self.encode, self.decode = color_space(network)
        stages, ends = list(core.stages() or ()), [number + 1 for number in theirs] if ours else []
        self.matches = nn.ModuleList(
            nn.Conv2d(before, after, 1) for before, after in zip(ours.values(), theirs.values(), strict=False)
        )
        parts = [stages[a:b] for a, b in pairwise([0, *ends, len(stages)])] if stages else [[core]]
        # In a tuple, since these are the layers of `network` once more.
        self.parts = tuple(Part(part, is_rewritable(core)).eval() for part in parts)

    def train(self, mode: bool = True) -> "Teacher":
        """Only the 1x1 convolutions have a training mode."""
        super().train(mode)
        self.network.eval()
        return self

    @torch.no_grad()
    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """T(x), and its features."""
        features: list[Tensor] = []
        y = pad_to_multiple(self.encode(x), self.network.size_multiple, self.network.min_size)
        for part in self.parts:
            y = part(y)
            features.append(y)
        return self.decode(x, y[..., : x.shape[2], : x.shape[3]]), features[:-1]

    def feature_distance(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """The mean squared error of the student's features, mapped, relative to the variance of the teacher's."""
        errors = []
        for match, mine, wanted in zip(self.matches, student, teacher, strict=True):
            size = min(mine.shape[2], wanted.shape[2]), min(mine.shape[3], wanted.shape[3])
            wanted = adaptive_avg_pool2d(wanted, size)
            errors.append((match(adaptive_avg_pool2d(mine, size)) - wanted).square().mean() / wanted.var())
        return torch.stack(errors).mean()


def teacher_networks(networks: NetworkConfig, loss: LossConfig) -> NetworkConfig:
    """The settings of the teacher's generator, from those of the run."""
    return replace(
        networks, generator=loss.teacher_generator, generator_width=loss.teacher_width, blocks=loss.teacher_blocks
    )


def color_space(
    generator: Generator,
) -> tuple[Generator, Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]:
    """The network that has the stages, and `encode` and `decode` of a `ColorSpaceGenerator` around it."""
    if isinstance(generator, ColorSpaceGenerator):
        return generator.network, generator.encode, generator.decode
    return generator, lambda x: x, lambda x, y: y


@torch.no_grad()
def deepest_stages(network: Generator, channels: int) -> dict[int, int]:
    """The first and the last stage whose output has the lowest resolution, and the channels of each; the result
    itself does not count."""
    core, encode, _ = color_space(network)
    y, outputs = encode(torch.zeros(1, channels, 64, 64)), []
    for stage in (core.stages() or ())[:-1]:
        y = stage(y)
        outputs.append(y.shape)
    lowest = min((shape[2] for shape in outputs), default=0)
    found = [(number, shape[1]) for number, shape in enumerate(outputs) if shape[2] == lowest]
    return dict((found[0], found[-1])) if found else {}


@register_method(DISTILL)
class Distillation(Method):
    """G, D, and the teacher. `direction` in the settings says which domain is x."""

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__(networks, loss, channels, seed)
        self.source, self.target = loss.direction.split("to")
        x, y = channels if self.source == "A" else channels[::-1]
        G = build_generator(networks, x, y)
        self.set_networks({"G": G}, {"D": build_discriminator(networks, y)})
        self.teacher = Teacher(build_generator(teacher_networks(networks, loss), x, y), G, x)

    def generator_parameters(self) -> Iterator[nn.Parameter]:
        """Those of G and the 1x1 convolutions."""
        matches = self.teacher.matches.parameters() if self.settings.lambda_features > 0 else ()
        return chain(self.generators.parameters(), matches)

    def generate(self, batch: Batch) -> Images:
        """G(x), and its features."""
        x, G = batch[self.source], cast(Generator, self.generators["G"])
        if not self.teacher.matches:
            return {self.target: G(x)}
        core, encode, decode = color_space(G)
        y, features = pad_to_multiple(encode(x), G.size_multiple, G.min_size), Images()
        for number, stage in enumerate(core.stages() or ()):
            y = stage(y)
            if number in self.teacher.student_stages:
                features[f"{STUDENT} {number}"] = y
        return {self.target: decode(x, y[..., : x.shape[2], : x.shape[3]]), **features}

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """The adversarial loss, and the distances to the teacher [GC eq. 4]."""
        fake, weight = images[self.target], self.settings
        wanted, features = self.teacher(batch[self.source])
        terms = {
            "G_GAN": weight.lambda_gan * self.gan.generator(self.discriminators["D"](self.augment("D", fake))),
            "G_L1": weight.lambda_l1 * l1(fake, wanted),
        }
        if weight.lambda_structure > 0:
            with torch.autocast(fake.device.type, enabled=False):  # variances are small differences
                terms["G_structure"] = weight.lambda_structure * (1 - ssim_map(fake.float(), wanted.float()).mean())
        if weight.lambda_features > 0 and features:
            mine = [images[f"{STUDENT} {number}"] for number in self.teacher.student_stages]
            terms["G_features"] = weight.lambda_features * self.teacher.feature_distance(mine, features)
        return terms

    def discriminators_loss(self, batch: Batch, images: Images) -> Terms:
        """The discriminator's side of the adversarial loss."""
        y, fake, D = batch[self.target], images[self.target].detach(), self.discriminators["D"]
        real_logits, fake_logits = forward_batched(D, y, fake, augment=partial(self.augment, "D"))
        self.adapt_augmentation("D", real_logits)
        terms = {"D_real": self.gan.real(real_logits), "D_fake": self.gan.fake(fake_logits)}
        return terms | self.gradient_penalty("D", y, fake)

    def discriminator_inputs(self, batch: Batch, images: Images) -> dict[Direction, RealFake]:
        """y and G(x)."""
        return {self.settings.direction: RealFake("D", batch[self.target], images[self.target])}
