"""All metrics of one direction: against ground truth, between image sets, of the cycle and of the content."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from cyclegan.config.schema import Direction
from cyclegan.evaluation.set_distances import FeatureNetworks, TargetSet, set_value
from cyclegan.evaluation.test_set import TestSet, thumbnail
from cyclegan.imaging.perceptual_hash import DUPLICATE, nearest, perceptual_hashes
from cyclegan.metrics import content, cycle
from cyclegan.metrics.intervals import Indices, MetricValue, mean_value
from cyclegan.metrics.similarity import compare_with_ground_truth
from cyclegan.runs.model import read_model
from cyclegan.translation.translator import Translator

BATCH = 16  # images per forward pass


def load_generators(folder: Path, direction: Direction, device: str = "auto") -> tuple[Translator, Translator | None]:
    """The translators of a direction and of its inverse, None if that was not learned. Raises as `Translator.load`."""
    other: Direction = "BtoA" if direction == "AtoB" else "AtoB"
    has_inverse = other in read_model(folder, generators_only=True).directions
    inverse = Translator.load(folder, other, device) if has_inverse else None
    return Translator.load(folder, direction, device), inverse


@dataclass(frozen=True)
class Reference:
    """Everything that is the same for all checkpoints of a direction."""

    untranslated: Tensor  # the inputs with the target's channels
    target: TargetSet
    baseline: dict[str, float]  # distances of the untranslated inputs from the target
    real: dict[str, float]  # distances of other real images


def measure_reference(images: TestSet, translator: Translator, networks: FeatureNetworks) -> Reference:
    """Measure everything that does not depend on the weights of the generator."""
    untranslated = match_channels(translator.generator.visible_input(images.inputs), images.target.shape[1])
    target = TargetSet(images.target, networks)
    real = target.distances(images.other) if len(images.other) else target.half().distances(images.target[::2])
    return Reference(untranslated, target, target.distances(untranslated), real)


def match_channels(images: Tensor, channels: int) -> Tensor:
    """Images (N, C, H, W) with another number of channels, each the mean of the original ones."""
    return images if images.shape[1] == channels else images.mean(1, keepdim=True).expand(-1, channels, -1, -1)


def measure(
    translator: Translator, inverse: Translator | None, images: TestSet, networks: FeatureNetworks, reference: Reference
) -> dict[str, MetricValue]:
    """All metrics of a direction by the keys of `METRICS`; those of the cycle need the `inverse` translator."""
    raw = _translate(translator, images.inputs)
    fakes = cycle.quantize(raw)
    metrics: dict[str, MetricValue] = {}
    if images.truth is not None:
        triples = zip(fakes, reference.untranslated, images.truth, strict=True)
        metrics |= compare_with_ground_truth(triples, ("psnr", "ssim", "l1"))
        if networks.lpips is not None:
            lpips = (networks.lpips(each, images.truth).tolist() for each in (fakes, reference.untranslated))
            metrics["lpips"] = mean_value(*lpips)
    for key, value in reference.target.values(fakes).items():
        metrics[key] = replace(value, untranslated=reference.baseline.get(key), real=reference.real.get(key))
    if inverse is not None:
        metrics |= _measure_cycle(inverse, images.inputs, raw)
    return metrics | _measure_content(fakes, reference.untranslated, images)


def _translate(translator: Translator, images: Tensor) -> Tensor:
    return torch.cat([translator.translate(part) for part in torch.split(images, BATCH)])


def _measure_cycle(inverse: Translator, inputs: Tensor, fakes: Tensor) -> dict[str, MetricValue]:
    """The reconstruction error, and the fraction of the reconstruction that survives perturbed translations."""
    reconstructions = _translate(inverse, fakes)
    clean, chance = cycle.cycle_errors(inputs, reconstructions), cycle.chance_errors(inputs, reconstructions)
    metrics = {"cycle_error": mean_value(clean.tolist())}
    for name, perturb in cycle.PERTURBATIONS.items():
        if name == "jpeg" and fakes.shape[1] not in (1, 3):
            continue
        errors = cycle.cycle_errors(inputs, _translate(inverse, perturb(fakes)))

        def retained(keep: Indices, errors: Tensor = errors) -> float:
            return cycle.retained_fraction(clean[keep], errors[keep], chance[keep])

        metrics[f"kept_{name}"] = set_value(retained, len(inputs))
    return metrics


def _measure_content(fakes: Tensor, untranslated: Tensor, images: TestSet) -> dict[str, MetricValue]:
    """What is left of the input, and whether translations duplicate training images."""
    metrics = {}
    for key, agreement in (
        ("edge_agreement", content.edge_agreement),
        ("structure_agreement", content.structure_agreement),
    ):
        real = None if images.truth is None else agreement(untranslated, images.truth).tolist()
        metrics[key] = mean_value(agreement(untranslated, fakes).tolist(), None, real)
    if len(images.train_hashes):
        ours, inputs = (_train_similarity(each, images) for each in (fakes, untranslated))
        real = _train_similarity(images.target, images) if len(images.other) else None
        metrics["train_similarity"] = mean_value(ours, inputs, real)
        duplicates = [[float(value >= DUPLICATE) for value in values] for values in (ours, inputs, real or [])]
        metrics["train_duplicates"] = mean_value(duplicates[0], duplicates[1], duplicates[2] or None)
    return metrics


def _train_similarity(batch: Tensor, images: TestSet) -> list[float]:
    """Similarity of each image to the most similar training image of the target."""
    hashes = perceptual_hashes([thumbnail(each) for each in batch])
    return [float(similarity) for similarity in nearest(hashes, images.train_hashes)[1]]
