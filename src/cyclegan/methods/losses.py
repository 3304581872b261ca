"""Adversarial objectives, as functions of a discriminator's logits.

Each has the generator's loss on the logits of its fakes, and the discriminator's on real and fake ones. The
discriminator's is halved, which slows it down relative to the generator [C 7.1]; those of minimax and WGAN-GP are as
published, and the latter is used with `gradient_penalty`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class AdversarialObjective:
    """Both sides of a minimax game; all arguments are logits of any shape, all results scalars.

    The discriminator's side is a sum: `real` on the logits of real images, and `fake` on those of generated ones.
    """

    generator: Callable[[Tensor], Tensor]
    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    middle: float = 0.0  # logit of an image that is equally likely real or fake

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's side in total."""
        return self.real(real) + self.fake(fake)


def _least_squares_generator(fake: Tensor) -> Tensor:
    """E[(D(G(x)) - 1)^2] (Mao et al. 2017) [C 4]."""
    return (fake - 1).square().mean()


def _least_squares_real(real: Tensor) -> Tensor:
    """1/2 E[(D(y) - 1)^2] [C 4]."""
    return (real - 1).square().mean() / 2


def _least_squares_fake(fake: Tensor) -> Tensor:
    """1/2 E[D(G(x))^2] [C 4]."""
    return fake.square().mean() / 2


def _vanilla_generator(fake: Tensor) -> Tensor:
    """E[-log D(G(x))], the non-saturating form (Goodfellow et al. 2014)."""
    return softplus(-fake).mean()


def _vanilla_real(real: Tensor) -> Tensor:
    """-1/2 E[log D(y)] [C eq. 1]."""
    return softplus(-real).mean() / 2


def _vanilla_fake(fake: Tensor) -> Tensor:
    """-1/2 E[log(1 - D(G(x)))] [C eq. 1]."""
    return softplus(fake).mean() / 2


def _minimax_generator(fake: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))], whose gradient is small while D is confident (Goodfellow et al. 2014, eq. 1)."""
    return -softplus(fake).mean()


def _minimax_real(real: Tensor) -> Tensor:
    """-E[log D(x)] (Goodfellow et al. 2014, eq. 1)."""
    return softplus(-real).mean()


def _minimax_fake(fake: Tensor) -> Tensor:
    """-E[log(1 - D(G(z)))] (Goodfellow et al. 2014, eq. 1)."""
    return softplus(fake).mean()


def _critic(logits: Tensor) -> Tensor:
    """E[D], which a critic minimizes on fakes (Arjovsky et al. 2017)."""
    return logits.mean()


def _negative_critic(logits: Tensor) -> Tensor:
    """-E[D], which a critic minimizes on real images, and the generator on its fakes."""
    return -logits.mean()


def _hinge_real(real: Tensor) -> Tensor:
    """1/2 E[max(0, 1 - D(y))] (Lim and Ye 2017)."""
    return relu(1 - real).mean() / 2


def _hinge_fake(fake: Tensor) -> Tensor:
    """1/2 E[max(0, 1 + D(G(x)))] (Lim and Ye 2017)."""
    return relu(1 + fake).mean() / 2


OBJECTIVES: dict[str, AdversarialObjective] = {
    "lsgan": AdversarialObjective(_least_squares_generator, _least_squares_real, _least_squares_fake, middle=0.5),
    "vanilla": AdversarialObjective(_vanilla_generator, _vanilla_real, _vanilla_fake),
    "minimax": AdversarialObjective(_minimax_generator, _minimax_real, _minimax_fake),
    "wgangp": AdversarialObjective(_negative_critic, _negative_critic, _critic),
    "hinge": AdversarialObjective(_negative_critic, _hinge_real, _hinge_fake),
}


def l1(a: Tensor, b: Tensor) -> Tensor:
    """The mean absolute difference."""
    return (a - b).abs().mean()


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """E[(|grad D(z)| - 1)^2] at random points z between real and fake (N, C, H, W) (Gulrajani et al. 2017, eq. 3)."""
    epsilon = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
    between = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
