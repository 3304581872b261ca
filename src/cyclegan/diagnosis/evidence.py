"""Evidence: what a method's networks do with a few images, measured for the checks."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import cast

import torch
from torch import Tensor, nn

from cyclegan.config.schema import Config, Direction
from cyclegan.methods.method import Batch, Method
from cyclegan.metrics import cycle
from cyclegan.networks.generator import Generator

GRADIENT_IMAGES = 4  # the gradient of a single image may be atypical
CLEAN = "clean"
PERTURBATIONS = {CLEAN: lambda images: images, "blur": cycle.blur, "noise": cycle.add_noise}


@dataclass(frozen=True)
class Samples:
    """Images of both domains at the training size, in [-1, 1]."""

    train: Batch
    held_out: Batch  # from the test set, or from the training set without one
    unseen: bool  # whether `held_out` is a test set
    paired: bool  # whether images of A and B with the same index belong together


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


@dataclass(frozen=True)
class Evidence:
    """Everything the checks use."""

    config: Config
    metrics: Mapping[str, list[float]]  # columns of metrics.csv
    directions: tuple[DirectionEvidence, ...]
    image_counts: tuple[int, int]  # training images of A and B
    names: tuple[str, str]  # of the domains
    step: int
    progress: float  # completed fraction of the schedule
    weight_growth: float  # size of the generators' weights relative to their initialization
    layout_agreement: float | None  # of the two domains; None if they have no layout


def collect_evidence(
    method: Method, generators: nn.ModuleDict, samples: Samples, *, thorough: bool = True
) -> tuple[DirectionEvidence, ...]:
    """Run the networks on the samples, for each learned direction, without changing the method's state.

    `generators` are those that translate (the averaged ones with EMA). Without `thorough`, reconstructions and
    gradients are skipped, which take three quarters of the time.
    """
    with _deterministic_eval(method, generators):
        return tuple(_directions(method, generators, samples, thorough))


def weight_rms(method: Method) -> float:
    """Root mean square of the weights of the generators' convolutions."""
    weights = [p.detach().float().flatten() for p in method.generators.parameters() if p.ndim == 4]
    return float(torch.cat(weights).square().mean().sqrt())


@contextmanager
def _deterministic_eval(method: Method, generators: nn.ModuleDict) -> Iterator[None]:
    """Eval mode and a fixed seed; the modes and all random states are restored afterwards."""
    drawn, training, averaged = method.rng.getstate(), method.training, generators.training
    device = next(method.parameters()).device
    method.eval()
    generators.eval()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            yield
    finally:
        method.rng.setstate(drawn)
        method.train(training)
        generators.train(averaged)


def _directions(
    method: Method, generators: nn.ModuleDict, samples: Samples, thorough: bool
) -> Iterator[DirectionEvidence]:
    directions = method.spec.learned(method.settings)
    ways = {d: cast(Generator, generators[method.spec.directions[d]]) for d in directions}
    held_out, train = samples.held_out, samples.train
    made = {d: _apply(ways[d], held_out[d[0]]) for d in directions}
    images = {d[-1]: made[d] for d in directions}
    cases = method.discriminator_inputs(held_out, images)
    both = min(len(train["A"]), len(held_out["A"]))  # paired methods pass inputs to D, too
    learned = method.discriminator_inputs(_first(train, both), _first(images, both))
    gradients = _gradients(method, _first(train, GRADIENT_IMAGES)) if thorough else {}
    for direction in directions:
        inputs = held_out[direction[0]]
        fakes = made[direction]
        other: Direction = "BtoA" if direction == "AtoB" else "AtoB"
        perturbed = (
            {name: perturb(fakes) for name, perturb in PERTURBATIONS.items()} if thorough and other in ways else {}
        )
        name, real, fake = cases[direction]
        D = method.discriminators[name]
        yield DirectionEvidence(
            direction=direction,
            inputs=ways[direction].visible_input(inputs),
            targets=held_out[direction[-1]],
            paired=samples.paired,
            fakes=fakes,
            reconstructions={name: _apply(ways[other], x) for name, x in perturbed.items()},
            train_logits=_apply(D, learned[direction][1]),
            test_logits=_apply(D, real) if samples.unseen else None,
            fake_logits=_apply(D, fake),
            gradient_norms=gradients.get(direction, {}),
        )


def _first(batch: Batch, count: int) -> Batch:
    return {name: images[:count] for name, images in batch.items()}


def _apply(network: nn.Module, images: Tensor) -> Tensor:
    """The network's outputs, one image at a time to save memory, on the CPU."""
    where = next(network.parameters())
    with torch.no_grad():
        return torch.cat([network(image[None].to(where.device)).float().cpu() for image in images])


def _gradients(method: Method, batch: Batch) -> dict[Direction, dict[str, float]]:
    """For each direction's generator, the norm of every loss term's mean gradient over a batch."""
    ways = {
        d: list(method.generators[method.spec.directions[d]].parameters()) for d in method.spec.learned(method.settings)
    }
    images = [{name: each[n : n + 1] for name, each in batch.items()} for n in range(len(batch["A"]))]
    sums: dict[str, dict[Direction, Tensor]] = {}
    for image in images:  # one image at a time to save memory
        for name, found in _gradients_of_one(method, image, ways):
            before = sums.get(name)
            sums[name] = found if before is None else {d: before[d] + found[d] for d in ways}
    return {d: {name: float(found[d].norm()) / len(images) for name, found in sums.items()} for d in ways}


def _gradients_of_one(
    method: Method, image: Batch, ways: dict[Direction, list[nn.Parameter]]
) -> Iterator[tuple[str, dict[Direction, Tensor]]]:
    """Each loss term's name, and its gradient with respect to each generator as one vector."""
    device = next(method.parameters()).device
    image = {name: each.to(device) for name, each in image.items()}
    with torch.enable_grad():
        for name, term in method.generators_loss(image, method.generate(image)).items():
            found = iter(
                torch.autograd.grad(
                    term, [*chain(*ways.values())], retain_graph=True, allow_unused=True, materialize_grads=True
                )
            )
            yield name, {d: torch.cat([next(found).flatten() for _ in own]) for d, own in ways.items()}
