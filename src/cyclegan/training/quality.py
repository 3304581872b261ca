"""Light measures of quality during a training, always on the same few test images, and which checkpoint was best."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from cyclegan.config.schema import Config, Direction
from cyclegan.data.datasets import decode_specs
from cyclegan.data.layouts import DataFiles, paired_by_name
from cyclegan.data.samples import load_fixed_images, strided
from cyclegan.errors import UsageError
from cyclegan.imaging.source import Source
from cyclegan.methods.method import Method
from cyclegan.metrics import patches
from cyclegan.metrics.similarity import compare_with_ground_truth

IMAGES = 32  # of each domain; translating them takes about as long as four steps of training
HIGHER = {"psnr": True, "ssim": True, "swd": False}  # whether more is better


@dataclass(frozen=True)
class Subset:
    """Inputs of a direction, and as many real images of its target: each input's truth if that is known."""

    inputs: Tensor  # (N, C, H, W) in [-1, 1]
    real: Tensor
    true: bool


class Quality:
    """What is measured every `measure_every` steps, and by which of the figures a checkpoint is the best one.

    Raises `UsageError` when the figure that is to choose needs a truth that is not known.
    """

    def __init__(self, config: Config, domains: DataFiles, directions: Sequence[Direction]):
        run = config.run
        self.every = run.measure_every
        found = {d: _subset(config, domains, d) for d in directions if self.every}
        self.subsets = {direction: subset for direction, subset in found.items() if subset is not None}
        truth = bool(self.subsets) and all(subset.true for subset in self.subsets.values())
        if run.best_by in ("psnr", "ssim") and self.subsets and not truth:
            raise UsageError(
                f"--best-by {run.best_by} needs test images of equal names in both domains; take --best-by swd."
            )
        self.best_by = ("ssim" if truth else "swd") if run.best_by == "auto" else run.best_by

    def due(self, step: int) -> bool:
        """Whether a training measures after this step."""
        return bool(self.subsets) and step % self.every == 0

    def measure(self, method: Method, generators: nn.ModuleDict, fabric: Fabric) -> dict[str, float]:
        """PSNR and SSIM where the truth is known, and SWD, of each direction: "psnr_AtoB" and so on."""
        values = {}
        was_training = generators.training
        generators.eval()
        for direction, subset in self.subsets.items():
            with torch.no_grad(), fabric.autocast():
                made = [method.translate(generators, x.to(fabric.device)[None], direction)[0] for x in subset.inputs]
            fakes = torch.stack([image.float().clamp(-1, 1).cpu() for image in made])
            if subset.true:
                images = ((fake, None, truth) for fake, truth in zip(fakes, subset.real, strict=True))
                for name, value in compare_with_ground_truth(images).items():
                    values[f"{name}_{direction}"] = sum(value.per_image) / value.images
            values[f"swd_{direction}"] = patches.image_distance(fakes, subset.real)
        generators.train(was_training)
        return values

    def score(self, values: dict[str, float]) -> float:
        """The figure that chooses, averaged over the directions, such that more is better."""
        each = [value for name, value in values.items() if name.startswith(f"{self.best_by}_")]
        return sum(each) / len(each) * (1 if HIGHER[self.best_by] else -1)


def _subset(config: Config, domains: DataFiles, direction: Direction) -> Subset | None:
    test, train = (d if direction == "AtoB" else d.swapped() for d in (domains.test, domains.train))
    data = config.data
    ways = [decode_specs(data)[domain] for domain in direction.split("to")]
    pairs: list[tuple[Source, ...]] = [*paired_by_name(test)]
    if pairs:
        columns = load_fixed_images(strided(pairs, IMAGES), IMAGES, data.crop_size, ways)
        return Subset(columns[0], columns[1], true=True) if columns else None
    rows = ([(path,) for path in test.a or train.a], [(path,) for path in test.b or train.b])
    inputs, real = (
        load_fixed_images(strided(r, IMAGES), IMAGES, data.crop_size, [way]) for r, way in zip(rows, ways, strict=True)
    )
    if not inputs or not real:
        return None
    count = min(len(inputs[0]), len(real[0]))
    return Subset(inputs[0][:count], real[0][:count], true=False)
