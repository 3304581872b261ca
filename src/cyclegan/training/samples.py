"""Grids of sample translations, always of the same images."""

import torch
from PIL import Image

from cyclegan.config.schema import Direction
from cyclegan.data.layouts import DataFiles
from cyclegan.data.preprocessing import decode_specs
from cyclegan.data.select import load_fixed_images, sample_rows
from cyclegan.networks.attention import AttentionGenerator, MaskGenerator
from cyclegan.runs.sample_grids import sample_grid
from cyclegan.training.step import TrainState


class SampleImages:
    """A few images of each direction, of the test set if there is one; those of paired data with their targets."""

    def __init__(self, state: TrainState, domains: DataFiles):
        data, count = state.config.data, state.config.run.samples
        self.names = domains.names
        self.images: dict[Direction, list[torch.Tensor]] = {}
        for direction in state.method.spec.learned(state.config.loss):
            specs = decode_specs(data, direction)
            images = load_fixed_images(sample_rows(state.config, domains, direction), count, data.crop_size, specs)
            if images:
                self.images[direction] = [each.to(state.fabric.device) for each in images]

    def grids(self, state: TrainState) -> dict[Direction, Image.Image]:
        """A grid for each direction: the images, their translations, and what else the method shows."""
        grids = {}
        with state.evaluating() as generators:
            for direction, (inputs, *target) in self.images.items():
                columns = state.method.sample_columns(generators, inputs, direction)
                generator = generators[state.method.spec.directions[direction]]
                if isinstance(generator, AttentionGenerator):
                    changed = MaskGenerator(generator)(inputs).amax(1, keepdim=True)
                    columns["mask"] = changed.expand_as(inputs)
                if target:
                    columns["truth"] = target[0]
                names = self.names if direction == "AtoB" else self.names[::-1]
                grids[direction] = sample_grid({heading: each.float() for heading, each in columns.items()}, names)
        return grids
