"""The discriminators learn from a history of generated images, not only the latest (Shrivastava et al. 2017) [C 4]."""

import random

import torch
from torch import Tensor


class ImageHistory:
    """Up to `size` generated images, each exchanged at random as new ones come; size 0 passes images through.

    `draw` decides. It may be shared: the reference implementation draws for the fakes of B before those of A.
    """

    def __init__(self, size: int, draw: random.Random):
        self.size = size
        self.draw = draw
        self.images: list[Tensor] = []

    def exchange(self, fresh: Tensor) -> Tensor:
        """Trade a batch (N, C, H, W) for one of the same shape, in which some images may be older ones."""
        if self.size == 0:
            return fresh
        return torch.stack([self._exchange_one(image) for image in fresh.detach()])

    def _exchange_one(self, image: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        if self.draw.uniform(0, 1) <= 0.5:
            return image
        place = self.draw.randint(0, self.size - 1)
        older, self.images[place] = self.images[place], image.clone()
        return older
