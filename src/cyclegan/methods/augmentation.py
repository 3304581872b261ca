"""Augmentation for few images: discriminators see changed images, real and generated alike.

DiffAugment [DA]: Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS 2020.
ADA [ADA]: Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS 2020.

A discriminator that has few real images learns them by heart. Changing what it sees keeps it from that; since fakes
are changed as well, and the gradient passes through, the generators do not learn the changes. Random numbers are drawn
on the processor, a few for each image, so that they are the same on every device.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

SHIFT = 1 / 8  # largest shift, as a share of the image's side [DA]
HOLE = 1 / 2  # side of the square that is cut out, as a share of the image's [DA]


def brightness(images: Tensor, draw: Tensor) -> Tensor:
    """(N, C, H, W) plus draw - 1/2, for draws (N,) in [0, 1) [DA]."""
    return images + (_each(draw, images) - 0.5)


def saturation(images: Tensor, draw: Tensor) -> Tensor:
    """Colors 0 to 2 times as far from the mean over the channels; a single channel stays as it is [DA]."""
    gray = images.mean(1, keepdim=True)
    return gray + (images - gray) * (2 * _each(draw, images))


def contrast(images: Tensor, draw: Tensor) -> Tensor:
    """Values 1/2 to 3/2 times as far from the image's mean [DA]."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (_each(draw, images) + 0.5)


def color(images: Tensor) -> Tensor:
    """Brightness, saturation and contrast, each by a random amount for each image [DA]."""
    for change in (brightness, saturation, contrast):
        images = change(images, torch.rand(len(images)))
    return images


def translation(images: Tensor) -> Tensor:
    """Each image shifted by at most an eighth of its sides; what comes in is 0, mid-gray [DA]."""
    down, right = (torch.randint(-reach, reach + 1, (len(images),)).tolist() for reach in _shares(images, SHIFT))
    return torch.cat([shifted(images[i : i + 1], y, x) for i, (y, x) in enumerate(zip(down, right, strict=True))])


def shifted(images: Tensor, down: int, right: int) -> Tensor:
    """(N, C, H, W) moved by so many pixels, 0 where nothing comes from."""
    return pad(images, (right, -right, down, -down))


def cutout(images: Tensor) -> Tensor:
    """Each image with a square of half its sides set to 0, around a random place [DA]."""
    height, width = images.shape[-2:]
    tall, wide = _shares(images, HOLE)
    top = (torch.randint(0, height + 1 - tall % 2, (len(images),)) - tall // 2).tolist()
    left = (torch.randint(0, width + 1 - wide % 2, (len(images),)) - wide // 2).tolist()
    mask = images.new_ones(len(images), 1, height, width)
    for i, (y, x) in enumerate(zip(top, left, strict=True)):
        mask[i, :, max(y, 0) : y + tall, max(x, 0) : x + wide] = 0
    return images * mask


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {"color": color, "translation": translation, "cutout": cutout}


class Augmentation(nn.Module):
    """What one discriminator sees in training instead of images (N, C, H, W): each change happens with probability p.

    DiffAugment is p = 1. In ADA `watch` moves p: up while the discriminator is surer of real images than `target`,
    down while it is less sure; from 0 to 1 it takes `images` images at least. `stacked` are the channels of images
    that the discriminator sees on top of each other: they are changed alike, colors in each by itself.
    """

    p: Tensor

    def __init__(self, changes: Sequence[str], stacked: Sequence[int] = (), *, p: float = 1.0):
        super().__init__()
        self.changes, self.stacked = tuple(changes), list(stacked)
        self.register_buffer("p", torch.tensor(p))

    def forward(self, images: Tensor) -> Tensor:
        """The changed images."""
        for name in self.changes:
            chosen = torch.rand(len(images)) < self.p.cpu()
            if bool(chosen.any()):
                images = torch.where(_each(chosen, images), self._changed(name, images), images)
        return images

    def _changed(self, name: str, images: Tensor) -> Tensor:
        if name != "color" or not self.stacked:
            return CHANGES[name](images)
        return torch.cat([color(each) for each in torch.split(images, self.stacked, 1)], 1)

    def watch(self, says_real: Tensor, *, middle: float, target: float, images: int) -> None:
        """Move p by what the discriminator says of real images: r_t = E[sign(D(y) - middle)] [ADA eq. 1].

        `middle` is half way between what it should say of fakes and of real images: 0 for logits, 1/2 for least
        squares.
        """
        surer = (says_real.detach() - middle).sign().mean() - target
        self.p.copy_((self.p + surer.sign() * len(says_real) / images).clamp(0, 1))


def _each(values: Tensor, images: Tensor) -> Tensor:
    """(N,) as (N, 1, 1, 1) beside images, on their device."""
    values = values.to(images.device) if values.dtype == torch.bool else values.to(images)
    return values.view(-1, 1, 1, 1)


def _shares(images: Tensor, share: float) -> tuple[int, int]:
    """Of height and width, in pixels, at least 1."""
    height, width = images.shape[-2:]
    return max(1, round(height * share)), max(1, round(width * share))
