"""Evidence: what a method's networks do with a few images, measured for the checks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import cast

import torch
from torch import Tensor, nn

from cyclegan.config.schema import Config, Direction
from cyclegan.data.layouts import DataFiles, SplitFiles, paired_by_name
from cyclegan.data.preprocessing import decode_specs
from cyclegan.data.select import load_fixed_domains
from cyclegan.methods.method import Batch, Method, build_method
from cyclegan.methods.registry import method_spec
from cyclegan.metrics import cycle
from cyclegan.metrics.content import with_channels
from cyclegan.metrics.distributions import kernel_distance
from cyclegan.metrics.features import Features, extract_features, load_efficientnet
from cyclegan.metrics.patches import image_distance
from cyclegan.networks.generator import Generator

TRAIN, HELD_OUT = 64, 16  # images per domain; only held-out ones are translated
HELD_OUT_IN_TRAINING = 8  # during training, to save time
GRADIENT_IMAGES = 4  # the gradient of a single image may be atypical
CLEAN = "clean"
Metrics = Mapping[str, list[float]]  # columns of metrics.csv
PERTURBATIONS = {CLEAN: lambda images: images, "blur": cycle.blur, "noise": cycle.add_noise}


@dataclass(frozen=True)
class Samples:
    """Images of both domains at the training size, in [-1, 1]."""

    train: Batch
    held_out: Batch  # from the test set, or from the training set without one
    unseen: bool  # whether `held_out` is a test set
    paired: bool  # whether images of A and B with the same index belong together


@dataclass(frozen=True)
class Distance:
    """A distance from the target domain, of translations and of their untranslated inputs."""

    name: str
    fakes: float
    untranslated: float


def measure_distance(inputs: Tensor, fakes: Tensor, targets: Tensor, network: Features | None = None) -> Distance:
    """Kernel distance between the features of a network, or without one SWD, of images (N, C, H, W) in [-1, 1]."""
    if network is not None and len(fakes) > 1:
        a, b, real = (extract_features(network, each) for each in (inputs, fakes, targets))
        return Distance("KD (EfficientNet-Lite0)", kernel_distance(b, real), kernel_distance(a, real))
    inputs, count = with_channels(inputs, targets.shape[1]), min(len(fakes), len(targets))
    return Distance("SWD", *(image_distance(each[:count], targets[:count]) for each in (fakes, inputs)))


@dataclass(frozen=True)
class DirectionEvidence:
    """The evidence of one direction. Images are (N, C, H, W) in [-1, 1]; logits are outputs of the discriminator."""

    direction: Direction
    inputs: Tensor
    targets: Tensor  # real images of the target domain, if `paired` the ground truth of the inputs
    paired: bool
    fakes: Tensor
    reconstructions: dict[str, Tensor]  # from clean and perturbed fakes; empty without an inverse generator
    train_logits: Tensor  # of real training images
    test_logits: Tensor | None  # of real test images
    fake_logits: Tensor
    gradient_norms: dict[str, float]  # of each loss term's mean gradient with respect to the generator
    distance: Distance  # from the target domain


@dataclass(frozen=True)
class Evidence:
    """Everything the checks use."""

    config: Config
    metrics: Metrics
    directions: tuple[DirectionEvidence, ...]
    image_counts: tuple[int, int]  # training images of A and B
    names: tuple[str, str]  # of the domains
    step: int
    progress: float  # completed fraction of the schedule
    weight_growth: float  # size of the generators' weights relative to their initialization
    layout_agreement: float | None  # of the two domains; None if they have no layout
    not_finite: int | None = None  # the step at which the loss was no longer finite, if that ended the run

    @property
    def has_history(self) -> bool:
        """Whether the discriminators learn from a history of images."""
        return "pool_size" in method_spec(self.config.loss.method).loss_settings

    @property
    def images_seen(self) -> int:
        """Training images per domain."""
        return self.step * self.config.data.batch_size * self.config.optimizer.accumulate


def read_samples(config: Config, domains: DataFiles, held_out: int) -> Samples | None:
    """Images of both domains, `held_out` per domain for translation; None when no training image can be read."""
    train, test = (_batch(config, d, n) for d, n in ((domains.train, TRAIN), (domains.test, held_out)))
    if not train:
        return None
    paired = bool(paired_by_name(domains.test if test else domains.train))
    held_out_images = test or {name: images[:held_out] for name, images in train.items()}
    return Samples(train, held_out_images, unseen=bool(test), paired=paired)


def _batch(config: Config, files: SplitFiles, count: int) -> Batch:
    specs, pairs = decode_specs(config.data), paired_by_name(files)
    return dict(zip("AB", load_fixed_domains(files, pairs, count, config.data.crop_size, specs), strict=False))


def collect_evidence(
    method: Method, generators: nn.ModuleDict, samples: Samples, *, thorough: bool = True
) -> tuple[DirectionEvidence, ...]:
    """Run the networks on the samples, for each learned direction, without changing the method's state.

    `generators` are those that translate (the averaged ones with EMA). Without `thorough`, reconstructions and
    gradients are skipped, which take three quarters of the time, and distances are SWD.
    """
    drawn, training, averaged = method.rng.getstate(), method.training, generators.training
    device = next(method.parameters()).device
    method.eval()
    generators.eval()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            return tuple(_directions(method, generators, samples, thorough))
    finally:
        method.rng.setstate(drawn)
        method.train(training)
        generators.train(averaged)


def weight_rms(method: Method) -> float:
    """Root mean square of the weights of the generators' convolutions."""
    weights = [p.detach().float().flatten() for p in method.generators.parameters() if p.ndim == 4]
    return float(torch.cat(weights).square().mean().sqrt())


def initial_weight_rms(config: Config) -> float:
    """Root mean square of the generators' weights as initialized for this configuration."""
    with torch.random.fork_rng([]):
        torch.manual_seed(config.run.seed)
        return weight_rms(build_method(config, seed=0))


def _directions(
    method: Method, generators: nn.ModuleDict, samples: Samples, thorough: bool
) -> Iterator[DirectionEvidence]:
    directions = method.spec.learned(method.settings)
    networks = {d: cast(Generator, generators[method.spec.directions[d]]) for d in directions}
    train, held_out = samples.train, samples.held_out
    fakes = {d: _apply(generator, held_out[d[0]]) for d, generator in networks.items()}
    images = {d[-1]: each for d, each in fakes.items()}
    test_inputs = method.discriminator_inputs(held_out, images)
    count = min(len(train["A"]), len(held_out["A"]))  # conditional discriminators need inputs and outputs in pairs
    train_inputs = method.discriminator_inputs(_first(train, count), _first(images, count))
    network = load_efficientnet() if thorough else None
    gradient_norms = _gradient_norms(method, _first(train, GRADIENT_IMAGES)) if thorough else {}
    for d, generator in networks.items():
        inputs, targets = generator.visible_input(held_out[d[0]]), held_out[d[-1]]
        inverse = networks.get("BtoA" if d == "AtoB" else "AtoB")
        reconstructions = {}
        if thorough and inverse is not None:
            reconstructions = {name: _apply(inverse, perturb(fakes[d])) for name, perturb in PERTURBATIONS.items()}
        name, real, fake = test_inputs[d]
        D = method.discriminators[name]
        yield DirectionEvidence(
            direction=d,
            inputs=inputs,
            targets=targets,
            paired=samples.paired,
            fakes=fakes[d],
            reconstructions=reconstructions,
            train_logits=_apply(D, train_inputs[d][1]),
            test_logits=_apply(D, real) if samples.unseen else None,
            fake_logits=_apply(D, fake),
            gradient_norms=gradient_norms.get(d, {}),
            distance=measure_distance(inputs, fakes[d], targets, network),
        )


def _first(batch: Batch, count: int) -> Batch:
    return {name: images[:count] for name, images in batch.items()}


def _apply(network: nn.Module, images: Tensor) -> Tensor:
    """The network's outputs, one image at a time to save memory, on the CPU."""
    device = next(network.parameters()).device
    with torch.no_grad():
        return torch.cat([network(image[None].to(device)).float().cpu() for image in images])


def _gradient_norms(method: Method, batch: Batch) -> dict[Direction, dict[str, float]]:
    """For each direction's generator, the norm of every loss term's mean gradient over a batch."""
    directions, device = method.spec.learned(method.settings), next(method.parameters()).device
    weights = {d: list(method.generators[method.spec.directions[d]].parameters()) for d in directions}
    sums: dict[Direction, dict[str, Tensor]] = {d: {} for d in directions}
    for n in range(len(batch["A"])):  # one image at a time to save memory
        image = {name: each[n : n + 1].to(device) for name, each in batch.items()}
        with torch.enable_grad():
            for name, term in method.generators_loss(image, method.generate(image)).items():
                if not term.requires_grad:  # an identity loss that has ended
                    continue
                inputs = [*chain(*weights.values())]
                found = iter(torch.autograd.grad(term, inputs, retain_graph=True, materialize_grads=True))
                for d in directions:
                    gradient = torch.cat([next(found).flatten() for _ in weights[d]])
                    sums[d][name] = sums[d].get(name, 0) + gradient
    return {d: {name: float(each.norm()) / len(batch["A"]) for name, each in sums[d].items()} for d in directions}
