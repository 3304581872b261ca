"""The contract of methods, on which the training step, diagnosis and sample grids rely."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from cyclegan.config.schema import Config, Direction, LossConfig, NetworkConfig
from cyclegan.methods.augmentation import Augmentation
from cyclegan.methods.history import ImageHistory
from cyclegan.methods.losses import OBJECTIVES, gradient_penalty
from cyclegan.methods.registry import METHODS, method_spec
from cyclegan.networks.generator import Generator, build_generator
from cyclegan.networks.registry import DISCRIMINATORS, GENERATORS
from cyclegan.system.concurrent import concurrently

# "A" and "B": (N, C, H, W) in [-1, 1]; with --pairs, "pairs_A" and "pairs_B" of the same shapes belong together;
# with --masks, "mask_A" and "mask_B", (N, 1, H, W), are 1 in the white area of the masks and -1 elsewhere;
# with --labels, "label_A" and "label_B" of that shape are 2/255 times the number of the class, minus 1
Batch = dict[str, Tensor]
Images = dict[str, Tensor]  # generated from a batch; "A" and "B" are the fakes of that domain
Terms = dict[str, Tensor]  # scalars, already weighted; their sum is minimized


Part = TypeVar("Part")


class RealFake(NamedTuple):
    """What a discriminator distinguishes: real and generated images in the form that it takes."""

    discriminator: str
    real: Tensor
    fake: Tensor


class Method(nn.Module):
    """Owns the networks and computes the losses of both sides; optimizers and devices belong to the training step.

    A subclass builds its networks in `__init__` and hands them to `set_networks`.
    """

    discriminators_first: ClassVar[bool] = False  # whether the discriminators' step comes first in a training step
    progress: float = 0.0  # completed fraction of the run, set before each step, for weights that change with it
    threads_per_part: int = 0  # of `parts` that run side by side, set by the training step; 0: one after the other
    generators: nn.ModuleDict  # of `Generator`s, by the names in the spec's directions
    discriminators: nn.ModuleDict

    def __init__(self, networks: NetworkConfig, loss: LossConfig, channels: tuple[int, int], seed: int = 0):
        """`channels` are those of the images of A and B; `seed` is that of `rng`."""
        super().__init__()
        self.spec, self.settings = method_spec(loss.method), loss
        self.gan = OBJECTIVES[loss.objective]
        self.rng = random.Random(seed)  # of all decisions outside of tensors, such as the history's; in checkpoints
        self.histories: dict[str, ImageHistory] = {}  # by domain
        self.augmentations = nn.ModuleDict()  # by discriminator

    def set_networks(
        self, generators: Mapping[str, nn.Module], discriminators: Mapping[str, nn.Module], stacked: Sequence[int] = ()
    ) -> None:
        """Take over the networks; `stacked` are the channels of images that the discriminators see concatenated."""
        self.generators, self.discriminators = nn.ModuleDict(generators), nn.ModuleDict()
        for name, network in discriminators.items():
            self.add_discriminator(name, network, stacked)

    def add_discriminator(self, name: str, network: nn.Module, stacked: Sequence[int] = ()) -> None:
        """Take over one more discriminator, with augmentation as configured; `stacked` as in `set_networks`."""
        self.discriminators[name] = network
        if self.settings.augment != "off":
            p = 0.0 if self.settings.augment == "ada" else 1.0
            self.augmentations[name] = Augmentation(self.settings.augment_policy, stacked, p=p)

    @classmethod
    def build_generator(cls, networks: NetworkConfig, in_channels: int, out_channels: int) -> Generator:
        """A generator of this method for images of these channels, as in `generators`."""
        return build_generator(networks, in_channels, out_channels)

    def generate(self, batch: Batch) -> Images:
        """The generators' forward passes over a batch, with gradients; both losses start from these images."""
        raise NotImplementedError

    def generators_loss(self, batch: Batch, images: Images) -> Terms:
        """The generators' terms for a batch and its generated images."""
        raise NotImplementedError

    def discriminators_loss(self, batch: Batch, images: Images) -> Terms:
        """The discriminators' terms for a batch and its generated images, without gradients to the generators."""
        raise NotImplementedError

    def discriminator_inputs(self, batch: Batch, images: Images) -> dict[Direction, RealFake]:
        """Real and generated images as the discriminators take them, for diagnosis; `images` are translations."""
        raise NotImplementedError

    def parts(self, *functions: Callable[[], Part]) -> tuple[Part, ...]:
        """Results of functions that do not depend on each other, computed side by side where that is faster."""
        if self.threads_per_part and len(functions) > 1:  # one alone keeps all threads
            return concurrently(*functions, threads=self.threads_per_part)
        return tuple(function() for function in functions)

    def independent_losses(self, terms: Terms) -> list[Tensor]:
        """The sum of the terms, split where no parameter receives gradients from two of its parts."""
        return [total(terms)]

    def generator_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters that learn from the generators' loss, which must depend on each of them in every step."""
        return self.generators.parameters()

    def augment(self, discriminator: str, images: Tensor) -> Tensor:
        """The images that a discriminator sees, augmented in training if so configured [DA] [ADA]."""
        if discriminator not in self.augmentations:
            return images
        augmented: Tensor = self.augmentations[discriminator](images)
        return augmented

    def adapt_augmentation(self, discriminator: str, real_logits: Tensor) -> None:
        """With ADA, change the probability of augmentation by the discriminator's logits of real images."""
        weight = self.settings
        if weight.augment == "ada" and self.training:
            augmentation = cast(Augmentation, self.augmentations[discriminator])
            augmentation.adapt(real_logits, middle=self.gan.middle, target=weight.ada_target, images=weight.ada_images)

    def gradient_penalty(self, discriminator: str, real: Tensor, fake: Tensor) -> Terms:
        """The gradient penalty of WGAN-GP; no term with other objectives."""
        if self.settings.objective != "wgangp":
            return {}
        D = self.discriminators[discriminator]
        penalty = gradient_penalty(lambda z: D(self.augment(discriminator, z)), real, fake)
        return {"D_gp": self.settings.lambda_gp * penalty}

    def extra_metrics(self) -> Terms:
        """Values to log next to the losses: the probabilities of ADA."""
        if self.settings.augment != "ada":
            return {}
        return {f"p_{D}": cast(Augmentation, each).p.clone() for D, each in self.augmentations.items()}

    def translate(self, generators: nn.ModuleDict, images: Tensor, direction: Direction) -> Tensor:
        """A batch translated by these generators (the trained or the averaged ones)."""
        translated: Tensor = generators[self.spec.directions[direction]](images)
        return translated

    def sample_columns(
        self, generators: nn.ModuleDict, images: Tensor, direction: Direction, kept: Tensor | None = None
    ) -> dict[str, Tensor]:
        """The columns of a sample grid by heading; the first is the input, the second its translation.

        `kept`, (N, 1, H, W) in [0, 1], is given to methods with the setting `masks`: where it is 1 the input is pasted.
        """
        generator = cast(Generator, generators[self.spec.directions[direction]])
        return {"input": generator.visible_input(images), "translated": generator(images)}


def total(terms: Terms) -> Tensor:
    """The sum of the terms."""
    first, *others = terms.values()
    return sum(others, first)


def forward_batched(
    network: nn.Module, *batches: Tensor, augment: Callable[[Tensor], Tensor] = lambda images: images
) -> tuple[Tensor, ...]:
    """``network(augment(batch))`` for each batch, in one pass where the result is the same.

    That is so without batch norm, which mixes the images of a batch, and for batches of one shape.
    """
    mixes = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    if mixes or len({batch.shape[1:] for batch in batches}) > 1:
        return tuple(network(augment(batch)) for batch in batches)
    return network(augment(torch.cat(batches))).split([len(batch) for batch in batches])


def method_class(name: str) -> type[Method]:
    """The class of a method. Raises `UsageError` for an unknown name."""
    return METHODS[name][1]


def network_shapes(config: Config) -> dict[str, torch.Size]:
    """Shapes of the configured networks' tensors by name, found without memory for their values.

    Empty for a network from another package that needs values to be built.
    """
    _ = GENERATORS[config.networks.generator], DISCRIMINATORS[config.networks.discriminator]
    method = method_class(config.loss.method)  # like those above imported here, since imports may compute with tensors
    channels = (config.data.channels_a, config.data.channels_b)
    try:
        with torch.device("meta"):
            networks = method(config.networks, config.loss, channels)
    except RuntimeError:
        return {}
    return {name: value.shape for name, value in networks.state_dict().items()}


def build_method(config: Config, seed: int) -> Method:
    """The configured method, its weights drawn from torch's global generator, its history from `seed`."""
    channels = (config.data.channels_a, config.data.channels_b)
    return method_class(config.loss.method)(config.networks, config.loss, channels, seed)
