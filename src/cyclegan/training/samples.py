"""Grids of sample translations, always of the same images."""

from collections.abc import Sequence

import torch
from PIL import Image

from cyclegan.config.schema import Direction
from cyclegan.data.layouts import DataFiles
from cyclegan.data.preprocessing import MASK, decode_specs
from cyclegan.data.select import find_pasted_masks, load_fixed_images, sample_rows
from cyclegan.imaging.image import DecodeSpec
from cyclegan.methods.constraints import kept_part
from cyclegan.networks.attention import AttentionGenerator, MaskGenerator
from cyclegan.runs.sample_grids import sample_grid
from cyclegan.training.step import TrainState


class SampleImages:
    """A few images of each direction, of the test set if there is one; those of paired data with their targets."""

    def __init__(self, state: TrainState, domains: DataFiles):
        data, count = state.config.data, state.config.run.samples
        self.names = domains.names
        self.images: dict[Direction, list[torch.Tensor]] = {}
        self.kept: dict[Direction, torch.Tensor] = {}  # with --masks composite
        for direction in state.method.spec.learned(state.config.loss):
            specs: Sequence[DecodeSpec] = decode_specs(data, direction)
            rows = sample_rows(state.config, domains, direction)
            if masks := find_pasted_masks(state.config, domains, direction):
                rows, specs = [(row[0], masks[row[0]]) for row in rows], (specs[0], MASK)
            images = load_fixed_images(rows, count, data.crop_size, specs)
            images = [each.to(state.fabric.device) for each in images]
            if images and masks:
                self.kept[direction] = kept_part(images.pop(), state.config.loss.keep_part)
            if images:
                self.images[direction] = images

    def grids(self, state: TrainState) -> dict[Direction, Image.Image]:
        """A grid for each direction: the images, their translations, and what else the method shows."""
        grids = {}
        with state.evaluating() as generators:
            for direction, (inputs, *target) in self.images.items():
                pasting = {"kept": self.kept[direction]} if direction in self.kept else {}
                columns = state.method.sample_columns(generators, inputs, direction, **pasting)
                generator = generators[state.method.spec.directions[direction]]
                if isinstance(generator, AttentionGenerator):
                    changed = MaskGenerator(generator)(inputs).amax(1, keepdim=True)
                    columns["mask"] = changed.expand_as(inputs)
                if target:
                    columns["truth"] = target[0]
                names = self.names if direction == "AtoB" else self.names[::-1]
                grids[direction] = sample_grid({heading: each.float() for heading, each in columns.items()}, names)
        return grids
