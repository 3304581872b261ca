"""Quality during training, measured on the same few test images, which selects the best checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from cyclegan.config.schema import Config, Direction
from cyclegan.data.layouts import DataFiles, SplitFiles, paired_by_name
from cyclegan.data.preprocessing import decode_specs
from cyclegan.data.select import find_pasted_masks, load_fixed_domains
from cyclegan.errors import UsageError
from cyclegan.methods.constraints import kept_part, paste
from cyclegan.metrics import patches
from cyclegan.metrics.content import with_channels
from cyclegan.metrics.similarity import compare_with_ground_truth
from cyclegan.networks.generator import Generator
from cyclegan.runs.metrics_files import score
from cyclegan.training.step import TrainState

NUM_IMAGES = 32  # of each domain; translating them takes about as long as four training steps


@dataclass(frozen=True)
class Subset:
    """Test images of a direction, (N, C, H, W) in [-1, 1]."""

    inputs: Tensor
    targets: Tensor
    paired: bool  # targets are the ground truth of the inputs; else unrelated images of the target domain
    kept: Tensor | None = None  # (N, 1, H, W), 1 where --masks composite pastes the input


class Quality:
    """Measures quality every `measure_every` steps and scores it by the metric `best_by`.

    Raises `UsageError` when `best_by` needs ground truth and there is none.
    """

    def __init__(self, config: Config, domains: DataFiles, directions: Sequence[Direction]):
        run = config.run
        self.every = run.measure_every
        found = {d: _test_images(config, domains, d) for d in directions if self.every}
        self.subsets = {direction: subset for direction, subset in found.items() if subset is not None}
        paired = bool(self.subsets) and all(subset.paired for subset in self.subsets.values())
        if run.best_by in ("psnr", "ssim") and self.subsets and not paired:
            raise UsageError(
                f"--best-by {run.best_by} needs test images with equal names in both domains; use --best-by swd."
            )
        self.best_by = ("ssim" if paired else "swd") if run.best_by == "auto" else run.best_by

    def due(self, step: int) -> bool:
        """Whether quality is measured after this step."""
        return bool(self.subsets) and step % self.every == 0

    def measure(self, state: TrainState) -> dict[str, float]:
        """SWD of each direction, and PSNR and SSIM with ground truth, as "psnr_AtoB" and so on."""
        values: dict[str, float] = {}
        for direction, subset in self.subsets.items():
            with state.evaluating() as generators:
                inputs = (image[None].to(state.fabric.device) for image in subset.inputs)
                fakes = [state.method.translate(generators, image, direction)[0] for image in inputs]
            translations = torch.stack([fake.float().clamp(-1, 1).cpu() for fake in fakes])
            if subset.kept is not None:
                translations = paste(subset.kept, subset.inputs, translations)
            values |= _measure(translations, subset, direction)
        return values

    def measure_untranslated(self, state: TrainState) -> dict[str, float]:
        """The same metrics of the inputs, which translations should exceed."""
        values: dict[str, float] = {}
        for direction, subset in self.subsets.items():
            generator = cast(Generator, state.method.generators[state.method.spec.directions[direction]])
            visible = generator.visible_input(subset.inputs.to(state.fabric.device)).cpu()
            values |= _measure(with_channels(visible, subset.targets.shape[1]), subset, direction)
        return values

    def score(self, values: dict[str, float]) -> float:
        """The mean of the metric `best_by` over the directions, negated if lower is better."""
        return score(values, self.best_by)


def _measure(images: Tensor, subset: Subset, direction: Direction) -> dict[str, float]:
    values = {}
    if subset.paired:
        pairs = ((image, None, truth) for image, truth in zip(images, subset.targets, strict=True))
        for name, value in compare_with_ground_truth(pairs).items():
            values[f"{name}_{direction}"] = sum(value.per_image) / value.images
    return values | {f"swd_{direction}": patches.image_distance(images, subset.targets)}


def _test_images(config: Config, domains: DataFiles, direction: Direction) -> Subset | None:
    """Test images, or training images of a domain without any; None if a domain has no readable image."""
    masks = find_pasted_masks(config, domains, direction)
    domains = domains.oriented(direction)
    test, train = domains.test, domains.train
    size, specs = config.data.crop_size, decode_specs(config.data, direction)
    pairs, files = paired_by_name(test), SplitFiles(test.a or train.a, test.b or train.b)
    columns = load_fixed_domains(files, pairs, NUM_IMAGES, size, specs, masks)
    kept = kept_part(columns.pop(0), config.loss.keep_part) if columns and masks else None
    return Subset(columns[0], columns[1], paired=bool(pairs), kept=kept) if columns else None
