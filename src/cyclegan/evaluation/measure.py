"""All metrics of one direction, and quality against ground truth of image files at their own aspect ratio."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cyclegan.config.schema import Keep
from cyclegan.data.preprocessing import MASK
from cyclegan.errors import CycleGANError
from cyclegan.evaluation.set_distances import FeatureNetworks, ImageSet, distances_of_all, set_distances
from cyclegan.evaluation.test_set import TestSet, thumbnail
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.image import Array, DecodeSpec, Pixels, convert_channels, paste, to_tensor
from cyclegan.imaging.perceptual_hash import DUPLICATE, nearest, perceptual_hashes
from cyclegan.imaging.source import Source, UnreadableImage
from cyclegan.metrics import content, cycle, detail
from cyclegan.metrics.intervals import MetricValue, jackknife_values, mean_value
from cyclegan.metrics.similarity import compare_with_ground_truth
from cyclegan.translation.translator import Translator

BATCH = 16  # images per forward pass
Pair = tuple[Source, Source]  # an input and its ground truth


@dataclass(frozen=True)
class Pasting:
    """What a method with ``--masks composite`` pastes over translations: the kept part of each input, by its mask."""

    masks: Mapping[Source, Path]
    keep: Keep


@dataclass(frozen=True)
class Reference:
    """Everything that is the same for all checkpoints of a direction."""

    untranslated: Tensor  # the inputs with the target's channels
    target: ImageSet
    baseline: dict[str, float]  # distances of the untranslated inputs from the target
    real: dict[str, float]  # distances of other real images


def measure_reference(images: TestSet, translator: Translator, networks: FeatureNetworks) -> Reference:
    """Measure everything that does not depend on the weights of the generator."""
    untranslated = content.with_channels(translator.generator.visible_input(images.inputs), images.target.shape[1])
    target = networks.image_set(images.target)
    if images.other is not None:
        real = distances_of_all(networks.image_set(images.other), target)
    else:
        halves = ({name: each[start::2] for name, each in target.items()} for start in (0, 1))
        real = distances_of_all(*halves)
    return Reference(untranslated, target, distances_of_all(networks.image_set(untranslated), target), real)


def measure(
    translator: Translator, inverse: Translator | None, images: TestSet, networks: FeatureNetworks, reference: Reference
) -> dict[str, MetricValue]:
    """All metrics of a direction by the keys of `METRICS`; those of the cycle need the `inverse` translator."""
    raw = images.pasted(_translate(translator, images.inputs))
    fakes = cycle.quantize(raw)
    metrics: dict[str, MetricValue] = {}
    if images.truth is not None:
        triples = zip(fakes, reference.untranslated, images.truth, strict=True)
        metrics |= compare_with_ground_truth(triples, ("psnr", "ssim", "l1"))
        if networks.lpips is not None:
            lpips = (networks.lpips(each, images.truth).tolist() for each in (fakes, reference.untranslated))
            metrics["lpips"] = mean_value(*lpips)
    for count, distances in set_distances(networks.image_set(fakes), reference.target):
        for key, value in jackknife_values(distances, count).items():
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
    errors = {
        f"kept_{name}": cycle.cycle_errors(inputs, _translate(inverse, perturb(fakes)))
        for name, perturb in cycle.PERTURBATIONS.items()
        if name != "jpeg" or fakes.shape[1] in (1, 3)
    }
    kept = jackknife_values(
        lambda keep: {k: cycle.retained_fraction(clean[keep], e[keep], chance[keep]) for k, e in errors.items()},
        len(inputs),
    )
    return {"cycle_error": mean_value(clean.tolist())} | kept


def _measure_content(fakes: Tensor, untranslated: Tensor, images: TestSet) -> dict[str, MetricValue]:
    """Fine detail, what is left of the input, and whether translations duplicate training images."""
    sets = [fakes, untranslated, images.target]
    metrics = {f.__name__: mean_value(*(f(each).tolist() for each in sets)) for f in detail.MEASURES}
    for agreement in (content.edge_agreement, content.structure_agreement):
        real = None if images.truth is None else agreement(untranslated, images.truth).tolist()
        metrics[agreement.__name__] = mean_value(agreement(untranslated, fakes).tolist(), None, real)
    if images.kept is not None:
        kept, truth = images.kept, images.truth
        change, none = (content.masked_change(each, untranslated, kept).tolist() for each in (fakes, untranslated))
        real = None if truth is None else content.masked_change(truth, untranslated, kept).tolist()
        metrics["kept_change"] = mean_value(change, none, real)
    if len(images.train_hashes):
        sets = [fakes, untranslated, *([] if images.other is None else [images.target])]
        hashes = (perceptual_hashes([*map(thumbnail, each)]) for each in sets)
        similarities = [nearest(each, images.train_hashes)[1] for each in hashes]  # to the most similar training image
        metrics["train_similarity"] = mean_value(*(each.tolist() for each in similarities))
        metrics["train_duplicates"] = mean_value(*((each >= DUPLICATE).astype(float).tolist() for each in similarities))
    return metrics


def measure_pairs(
    translator: Translator, pairs: Sequence[Pair], size: int | None = None, pasting: Pasting | None = None
) -> tuple[dict[str, MetricValue], list[Pair]]:
    """PSNR and SSIM of the translated inputs against ground truth, and the pairs that could be read.

    With `size`, inputs with a longer shorter side are scaled down to it; ground truth is resized to the translation.
    With `pasting`, what must stay of an input is pasted over its translation.

    Raises `CycleGANError` when no pair can be read.
    """
    readable: list[Pair] = []

    def images() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for pair in pairs:
            try:
                before, after = before_and_after(translator, pair[0], size, pasting)
                truth = read_pixels(pair[1], translator.output_spec)
            except UnreadableImage:
                continue
            readable.append(pair)
            untranslated = _match_channels(before.values, translator.out_channels)
            yield tuple(map(to_tensor, (after.values, untranslated, truth.resize(after.size).values)))  # type: ignore[misc]

    metrics = compare_with_ground_truth(images())
    if not readable:
        raise CycleGANError(f"None of the {len(pairs)} test pairs can be read.")
    return metrics, readable


def _match_channels(values: Array, channels: int) -> Array:
    """Values (H, W, C) with another number of channels: gray to color and back, otherwise the mean in every channel."""
    if values.shape[2] == channels:
        return values
    unit = values / np.float32(255) if values.dtype == np.uint8 else values
    if {values.shape[2], channels} == {1, 3}:
        return convert_channels(unit, False, DecodeSpec(channels))[0]
    return np.repeat(unit.mean(2, keepdims=True), channels, 2)


def before_and_after(
    translator: Translator, path: Source, size: int | None, pasting: Pasting | None = None
) -> tuple[Pixels, Pixels]:
    """The generator's input and its translation, both with a shorter side of at most `size` pixels.

    Raises `UnreadableImage` if the image or its mask cannot be read.
    """
    image = read_pixels(path, translator.input_spec)
    mask = None if pasting is None else read_pixels(pasting.masks[path], MASK)
    after = translator.translate(image, size if size is not None and min(image.size) > size else "keep")
    if pasting is not None and mask is not None:
        after = paste(after, image, mask, pasting.keep)
    return translator.visible_input(image.resize(after.size)), after
