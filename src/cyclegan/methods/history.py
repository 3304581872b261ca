"""The discriminators learn from a history of generated images, not only from the latest (Shrivastava et al. 2017)."""

import random

import torch
from torch import Tensor


class ImageHistory:
    """Up to `size` generated images, replaced at random by new ones [C 4]; size 0 passes images through.

    `rng` may be shared: the reference implementation draws for the fakes of B before those of A.
    """

    def __init__(self, size: int, rng: random.Random):
        self.size = size
        self.rng = rng
        self.images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        """Add a batch (N, C, H, W), and return one of the same shape in which some images may be older ones."""
        if self.size == 0:
            return images
        return torch.stack([self._query_one(image) for image in images.detach()])

    def _query_one(self, image: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        if self.rng.uniform(0, 1) <= 0.5:
            return image
        index = self.rng.randint(0, self.size - 1)
        older, self.images[index] = self.images[index], image.clone()
        return older
