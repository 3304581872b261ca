"""Evidence: what a method's networks make of a few images, and what its discriminators say of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from cyclegan.config.schema import Config, Direction
from cyclegan.methods.method import Batch, Method
from cyclegan.metrics import cycle

FOR_GRADIENTS = 4  # images; one alone may have a gradient unlike the others'
CLEAN = "clean"
PERTURBATIONS = {CLEAN: lambda images: images, "blur": cycle.blur, "noise": cycle.add_noise}


@dataclass(frozen=True)
class Samples:
    """The images that are looked at, all of the size of training, in [-1, 1].

    `held_out` are those of the test set, or, where there is none, of training again; in `pairs`, images of the same
    number belong together.
    """

    train: Batch
    held_out: Batch
    unseen: bool  # whether `held_out` is a test set
    pairs: bool


@dataclass(frozen=True)
class DirectionEvidence:
    """One direction. Images are (N, C, H, W) in [-1, 1]; logits are as the discriminator gives them."""

    direction: Direction
    inputs: Tensor
    targets: Tensor  # real images of the target; the truth of each input where that is known
    truth: bool
    fakes: Tensor
    back: dict[str, Tensor]  # the way back from fakes, clean and disturbed; empty where there is none
    seen: Tensor  # logits of real images of the training
    unseen: Tensor | None  # logits of real images that are not in it
    fake: Tensor  # logits of the fakes
    gradients: dict[str, float]  # norm of each loss term's mean gradient of the generator


@dataclass(frozen=True)
class Evidence:
    """All that the doctor looks at."""

    config: Config
    metrics: Mapping[str, list[float]]  # columns of metrics.csv
    sides: tuple[DirectionEvidence, ...]
    images: tuple[int, int]  # in training, of A and of B
    names: tuple[str, str]  # of the domains
    step: int
    progress: float  # completed fraction of the schedule
    growth: float  # how large the generators' weights are, beside how they started
    layout: float | None  # agreement of the domains' layouts; None where they have none


def collect_evidence(
    method: Method, generators: nn.ModuleDict, samples: Samples, *, thorough: bool = True
) -> tuple[DirectionEvidence, ...]:
    """What the networks do with the samples, for each direction that was learned. Leaves the method as it was.

    `generators` are those that translate: the trained ones, or their average. A look that is not `thorough` leaves out
    the ways back and the gradients, which take three quarters of the time.
    """
    with _at_rest(method, generators):
        return tuple(_sides(method, generators, samples, thorough))


def weight_rms(method: Method) -> float:
    """Root mean square of the weights of the generators' convolutions."""
    weights = [p.detach().float().flatten() for p in method.generators.parameters() if p.ndim == 4]
    return float(torch.cat(weights).square().mean().sqrt())


@contextmanager
def _at_rest(method: Method, generators: nn.ModuleDict) -> Iterator[None]:
    """Nothing drawn at random, and no statistics kept, that a training would have drawn or kept otherwise."""
    drawn, training, averaged = method.draw.getstate(), method.training, generators.training
    device = next(method.parameters()).device
    method.eval()
    generators.eval()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            yield
    finally:
        method.draw.setstate(drawn)
        method.train(training)
        generators.train(averaged)


def _sides(method: Method, generators: nn.ModuleDict, samples: Samples, thorough: bool) -> Iterator[DirectionEvidence]:
    directions = method.spec.learned(method.settings)
    ways: dict[Direction, nn.Module] = {d: generators[method.spec.directions[d]] for d in directions}
    held_out, train = samples.held_out, samples.train
    made = {d: _one_by_one(ways[d], method.to_generator(held_out[d[0]])) for d in directions}
    images = {d[-1]: made[d] for d in directions}
    cases = method.cases(held_out, images)
    both = min(len(train["A"]), len(held_out["A"]))  # pairs are judged together, and what is made is of `held_out`
    learned = method.cases(_first(train, both), _first(images, both))
    gradients = _gradients(method, _first(train, FOR_GRADIENTS)) if thorough else {}
    for direction in directions:
        inputs = held_out[direction[0]]
        fakes = method.from_generator(inputs, made[direction])
        other: Direction = "BtoA" if direction == "AtoB" else "AtoB"
        disturbed = (
            {name: disturb(fakes) for name, disturb in PERTURBATIONS.items()} if thorough and other in ways else {}
        )
        name, real, fake = cases[direction]
        D = method.discriminators[name]
        yield DirectionEvidence(
            direction=direction,
            inputs=method.seen(inputs),
            targets=held_out[direction[-1]],
            truth=samples.pairs,
            fakes=fakes,
            back={name: method.from_generator(x, _one_by_one(ways[other], x)) for name, x in disturbed.items()},
            seen=_one_by_one(D, learned[direction][1]),
            unseen=_one_by_one(D, real) if samples.unseen else None,
            fake=_one_by_one(D, fake),
            gradients=gradients.get(direction, {}),
        )


def _first(batch: Batch, count: int) -> Batch:
    return {name: images[:count] for name, images in batch.items()}


def _one_by_one(network: nn.Module, images: Tensor) -> Tensor:
    """The network on each image alone, which takes the least memory; results on the processor."""
    where = next(network.parameters())
    with torch.no_grad():
        return torch.cat([network(image[None].to(where.device)).float().cpu() for image in images])


def _gradients(method: Method, batch: Batch) -> dict[Direction, dict[str, float]]:
    """The norm of each generators' loss term's mean gradient over a batch, of each direction's generator."""
    ways = {
        d: list(method.generators[method.spec.directions[d]].parameters()) for d in method.spec.learned(method.settings)
    }
    images = [{name: each[n : n + 1] for name, each in batch.items()} for n in range(len(batch["A"]))]
    sums: dict[str, dict[Direction, Tensor]] = {}
    for image in images:  # one by one, since a graph of several takes much memory
        for name, found in _gradients_of_one(method, image, ways):
            before = sums.get(name)
            sums[name] = found if before is None else {d: before[d] + found[d] for d in ways}
    return {d: {name: float(found[d].norm()) / len(images) for name, found in sums.items()} for d in ways}


def _gradients_of_one(
    method: Method, image: Batch, ways: dict[Direction, list[nn.Parameter]]
) -> Iterator[tuple[str, dict[Direction, Tensor]]]:
    """Each term's name, and its gradient of all of a generator's weights as one vector."""
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
