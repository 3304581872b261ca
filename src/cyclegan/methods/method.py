"""What every method is, to the trainer, the translator and the report. Adding one is a file and a line."""

import random
from collections.abc import Iterator
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from cyclegan.config.schema import Direction, LossConfig, NetworkConfig
from cyclegan.methods.augmentation import Augmentation
from cyclegan.methods.history import ImageHistory
from cyclegan.methods.losses import OBJECTIVES, gradient_penalty
from cyclegan.methods.registry import method_spec

Batch = dict[str, Tensor]  # "A" and "B": (N, C, H, W) in [-1, 1]
Images = dict[str, Tensor]  # what the generators made of a batch; "A" and "B" are the fakes of that domain
Case = tuple[str, Tensor, Tensor]  # a discriminator's name, and real and generated images as it sees them
Terms = dict[str, Tensor]  # scalars, already weighted; their sum is what is optimized


class Method(nn.Module):
    """Owns the networks and says what each side's loss is. Training them is somebody else's work."""

    discriminators_first: ClassVar[bool] = False  # which side steps first in a training step
    generators: nn.ModuleDict
    discriminators: nn.ModuleDict
    settings: LossConfig
    draw: random.Random  # what the histories draw from
    histories: dict[str, ImageHistory]  # by domain; empty for a method without

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        super().__init__()
        self.spec, self.settings = method_spec(loss.method), loss
        self.gan = OBJECTIVES[loss.objective]
        self.draw = random.Random(seed)
        self.histories = {}
        self.stacked: tuple[int, ...] = ()  # channels of images that a discriminator sees on top of each other
        self.augmentations = nn.ModuleDict()  # by discriminator; empty unless they see changed images

    def augment(self) -> None:
        """Let each discriminator see changed images in training, as the settings say [DA] [ADA]."""
        if self.settings.augment == "off":
            return
        changes, p = self.settings.augment_policy.split(","), 0.0 if self.settings.augment == "ada" else 1.0
        for name, D in self.discriminators.items():
            seen = self.augmentations[name] = Augmentation(changes, self.stacked, p=p)
            D.register_forward_pre_hook(lambda D, images, seen=seen: (seen(*images),) if D.training else None)

    def figures(self) -> Terms:
        """What is worth recording beside the losses: ADA's probabilities."""
        if self.settings.augment != "ada":
            return {}
        return {f"p_{name}": cast(Augmentation, each).p.clone() for name, each in self.augmentations.items()}

    def generate(self, batch: Batch) -> Images:
        """The generators' forward passes over a batch, with gradients; both losses start from these images."""
        raise NotImplementedError

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """The generators' terms for a batch and what `generate` made of it."""
        raise NotImplementedError

    def discriminators_loss(self, batch: Batch, images: Images) -> Terms:
        """The discriminators' terms for a batch and the same images, without gradient into the generators."""
        raise NotImplementedError

    def cases(self, batch: Batch, images: Images) -> dict[Direction, Case]:
        """What a discriminator has to tell apart in each direction: its name, real images, and generated ones."""
        raise NotImplementedError

    def judge(self, D: nn.Module, real: Tensor, fake: Tensor) -> Terms:
        """One discriminator's side of the adversarial loss, in its parts; `fake` carries no gradient."""
        says_real, says_fake = together(D, real, fake)
        self._adapt(D, says_real)
        terms = {"D_real": self.gan.real(says_real), "D_fake": self.gan.fake(says_fake)}
        if self.settings.objective == "wgangp":
            terms["D_gp"] = self.settings.lambda_gp * gradient_penalty(D, real, fake)
        return terms

    def _adapt(self, D: nn.Module, says_real: Tensor) -> None:
        """Move the probability with which the images of a discriminator are changed [ADA 3.1]."""
        weight = self.settings
        if weight.augment == "ada" and D.training:
            (name,) = (name for name, each in self.discriminators.items() if each is D)
            seen = cast(Augmentation, self.augmentations[name])
            seen.watch(says_real, middle=self.gan.middle, target=weight.ada_target, images=weight.ada_images)

    def generators_side(self) -> Iterator[nn.Parameter]:
        """Parameters that learn from the generators' loss."""
        return self.generators.parameters()

    @classmethod
    def generator_channels(cls, images: tuple[int, int]) -> tuple[int, int]:
        """What goes into and comes out of a generator, given the channels of input and output images."""
        return images

    @classmethod
    def image_to_image(cls, generator: nn.Module, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] to images, by one of the generators."""
        return cls.from_generator(images, generator(cls.to_generator(images)))

    @classmethod
    def to_generator(cls, images: Tensor) -> Tensor:
        """What a generator is given of images, pixel by pixel: the images, unless a method says otherwise."""
        return images

    @classmethod
    def from_generator(cls, images: Tensor, made: Tensor) -> Tensor:
        """The translation, pixel by pixel, from the images and what a generator made of them."""
        return made

    @classmethod
    def seen(cls, images: Tensor) -> Tensor:
        """What the generators see of images (N, C, H, W), as images: all, unless a method says otherwise."""
        return images

    def translate(self, generators: nn.ModuleDict, images: Tensor, direction: Direction) -> Tensor:
        """A batch translated by these generators (trained or averaged)."""
        return self.image_to_image(generators[self.spec.directions[direction]], images)

    def pictures(self, generators: nn.ModuleDict, images: Tensor, direction: Direction) -> dict[str, Tensor]:
        """What there is to see of a batch, by heading; the first is the input, the second its translation."""
        return {"input": self.seen(images), "translated": self.translate(generators, images, direction)}


def total(terms: Terms) -> Tensor:
    """The sum of the terms."""
    first, *others = terms.values()
    return sum(others, first)


def together(network: nn.Module, *batches: Tensor) -> tuple[Tensor, ...]:
    """``network(batch)`` for each batch, in one pass where that is the same.

    It is the same when every image is treated alone, which batch norm does not, and the batches have one shape.
    """
    alone = not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    if not alone or len({b.shape[1:] for b in batches}) > 1:
        return tuple(network(b) for b in batches)
    return network(torch.cat(batches)).split([len(b) for b in batches])
