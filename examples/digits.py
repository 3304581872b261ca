"""The data of both examples, scikit-learn's handwritten digits of 8x8 pixels, and measures on it."""

from dataclasses import dataclass

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC
from torch import Tensor
from torch.nn.functional import one_hot

from cyclegan.methods.method import Batch

SIDE, PIXELS, DIGITS = 8, 64, 10
NOISE, BATCH = 32, 64  # dimensions of z, images per batch


@dataclass(frozen=True)
class Digits:
    """Images (N, 1, 8, 8) in [-1, 1] and their labels (N,): 1,500 for training, 297 held out."""

    images: Tensor
    labels: Tensor
    held_out: Tensor
    held_out_labels: Tensor

    @classmethod
    def load(cls) -> "Digits":
        """The data set of scikit-learn, always with the same split."""
        data = load_digits()
        images = torch.tensor(data.images / 8 - 1, dtype=torch.float32).unsqueeze(1)
        x, held_out, y, labels = train_test_split(images, torch.tensor(data.target), test_size=297, random_state=0)
        return cls(x, y, held_out, labels)

    def batch(self) -> Batch:
        """Noise as A, digits as B, and the digits' labels as (N, 10) with a single 1 in each row."""
        chosen = torch.randint(len(self.images), (BATCH,))
        return {
            "A": torch.randn(BATCH, NOISE),
            "B": self.images[chosen],
            "label": one_hot(self.labels[chosen], DIGITS).float(),
        }

    def classifier(self) -> SVC:
        """A classifier trained on the real digits."""
        return SVC().fit(self.images.flatten(1), self.labels)

    def nearest(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The training digit nearest to each image, and its Euclidean distance."""
        distance, index = torch.cdist(images.flatten(1), self.images.flatten(1)).min(dim=1)
        return self.images[index], distance
