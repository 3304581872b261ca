"""Augmentation for small data sets: discriminators see augmented images, real and generated alike.

DiffAugment [DA]: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020.
ADA [ADA]: Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020.

A discriminator memorizes a small set of real images; augmenting its input prevents that. Since fakes are augmented as
well, and gradients pass through, the generators do not learn to produce augmented images. Random numbers are drawn on
the CPU, a few per image, so that they are the same on every device.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

MAX_SHIFT = 1 / 8  # as a fraction of the image's side [DA]
HOLE = 1 / 2  # side of the square that is cut out, as a fraction of the image's side [DA]


def brightness(images: Tensor, u: Tensor) -> Tensor:
    """(N, C, H, W) plus u - 1/2, for u (N,) in [0, 1) [DA]."""
    return images + (_per_image(u, images) - 0.5)


def saturation(images: Tensor, u: Tensor) -> Tensor:
    """Distance to the mean over the channels times 2 u; a single channel is unchanged [DA]."""
    gray = images.mean(1, keepdim=True)
    return gray + (images - gray) * (2 * _per_image(u, images))


def contrast(images: Tensor, u: Tensor) -> Tensor:
    """Distance to the image's mean times u + 1/2 [DA]."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (_per_image(u, images) + 0.5)


def color(images: Tensor) -> Tensor:
    """Brightness, saturation and contrast, each by a random amount for each image [DA]."""
    for change in (brightness, saturation, contrast):
        images = change(images, torch.rand(len(images)))
    return images


def translation(images: Tensor) -> Tensor:
    """Each image shifted by at most an eighth of its sides; uncovered pixels are 0, mid-gray [DA]."""
    down, right = (
        torch.randint(-reach, reach + 1, (len(images),)).tolist() for reach in _fraction_of_sides(images, MAX_SHIFT)
    )
    return torch.stack([shifted(image, y, x) for image, y, x in zip(images, down, right, strict=True)])


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """(..., H, W) shifted by these numbers of pixels, 0 where uncovered."""
    return pad(images, (right, -right, down, -down))


def cutout(images: Tensor) -> Tensor:
    """Each image with a square of half its sides, at a random location, set to 0 [DA]."""
    height, width = images.shape[-2:]
    tall, wide = _fraction_of_sides(images, HOLE)
    top = (torch.randint(0, height + 1 - tall % 2, (len(images),)) - tall // 2).tolist()
    left = (torch.randint(0, width + 1 - wide % 2, (len(images),)) - wide // 2).tolist()
    mask = images.new_ones(len(images), 1, height, width)
    for i, (y, x) in enumerate(zip(top, left, strict=True)):
        mask[i, :, max(y, 0) : y + tall, max(x, 0) : x + wide] = 0
    return images * mask


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {"color": color, "translation": translation, "cutout": cutout}


class Augmentation(nn.Module):
    """The augmented input (N, C, H, W) of a discriminator: each change is applied to an image with probability p.

    No effect in eval mode. DiffAugment is p = 1; with ADA, `adapt` controls p. `stacked` are the channels of images
    that are concatenated: they are changed alike, except for their colors.
    """

    p: Tensor

    def __init__(self, changes: Sequence[str], stacked: Sequence[int] = (), *, p: float = 1.0):
        super().__init__()
        self.changes, self.stacked = tuple(changes), list(stacked)
        self.register_buffer("p", torch.tensor(p))
        self.adaptive = p < 1

    def forward(self, images: Tensor) -> Tensor:
        """The augmented images."""
        for name in self.changes if self.training else ():
            chosen = torch.rand(len(images)) < (self.p.cpu() if self.adaptive else 1.0)  # the former waits for a GPU
            if bool(chosen.any()):
                parts = torch.split(images, self.stacked, 1) if name == "color" and self.stacked else (images,)
                changed = torch.cat([CHANGES[name](part) for part in parts], 1)
                images = torch.where(_per_image(chosen, images), changed, images)
        return images

    def adapt(self, real_logits: Tensor, *, middle: float, target: float, images: int) -> None:
        """Raise p if the discriminator is more confident on real images than `target`, else lower it.

        The measure is r_t = E[sign(D(y) - middle)] [ADA eq. 1]; p goes from 0 to 1 within `images` images at the least.
        `middle` is halfway between the desired logits of fakes and real images: 0, or 1/2 for least squares.
        """
        excess = (real_logits.detach() - middle).sign().mean() - target
        self.p.copy_((self.p + excess.sign() * len(real_logits) / images).clamp(0, 1))


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    """(N,) as (N, 1, 1, 1), on the images' device and, except for booleans, in their type."""
    values = values.to(images.device, images.dtype if values.dtype != torch.bool else torch.bool, non_blocking=True)
    return values.view(-1, 1, 1, 1)


def _fraction_of_sides(images: Tensor, fraction: float) -> tuple[int, int]:
    """A fraction of height and width, in pixels, at least 1."""
    height, width = images.shape[-2:]
    return max(1, round(height * fraction)), max(1, round(width * fraction))
