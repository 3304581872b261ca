"""Adversarial objectives, as functions of a discriminator's logits.

Each has two sides: the generator's loss on the logits of its fakes, and the discriminator's on real and fake ones.
The discriminator's is halved, which slows it down relative to the generator [C 7.1]; minimax's and WGAN-GP's are as
published.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class AdversarialObjective:
    """The two sides of a game; all arguments are logits of any shape, all results scalars."""

    generator: Callable[[Tensor], Tensor]
    discriminator: Callable[[Tensor, Tensor], Tensor]


def _least_squares_generator(fake: Tensor) -> Tensor:
    """E[(D(G(x)) - 1)^2] (Mao et al. 2017) [C 4]."""
    return (fake - 1).square().mean()


def _least_squares_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """1/2 (E[(D(y) - 1)^2] + E[D(G(x))^2]) [C 4]."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def _vanilla_generator(fake: Tensor) -> Tensor:
    """E[-log D(G(x))], the non-saturating form (Goodfellow et al. 2014)."""
    return softplus(-fake).mean()


def _vanilla_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-1/2 (E[log D(y)] + E[log(1 - D(G(x)))]) [C eq. 1]."""
    return (softplus(-real).mean() + softplus(fake).mean()) / 2


def _minimax_generator(fake: Tensor) -> Tensor:
    """E[log(1 - D(G(z)))], which has little slope while D is sure (Goodfellow et al. 2014, eq. 1)."""
    return -softplus(fake).mean()


def _minimax_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """-(E[log D(x)] + E[log(1 - D(G(z)))]) (Goodfellow et al. 2014, eq. 1)."""
    return softplus(-real).mean() + softplus(fake).mean()


def _critic_generator(fake: Tensor) -> Tensor:
    """-E[D(G(x))], for the critics of WGAN-GP and hinge."""
    return -fake.mean()


def _wasserstein_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """E[D(G(x))] - E[D(y)] (Arjovsky et al. 2017); the gradient penalty is added beside it."""
    return fake.mean() - real.mean()


def _hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """1/2 (E[max(0, 1 - D(y))] + E[max(0, 1 + D(G(x)))]) (Lim and Ye 2017)."""
    return (relu(1 - real).mean() + relu(1 + fake).mean()) / 2


OBJECTIVES: dict[str, AdversarialObjective] = {
    "lsgan": AdversarialObjective(_least_squares_generator, _least_squares_discriminator),
    "vanilla": AdversarialObjective(_vanilla_generator, _vanilla_discriminator),
    "minimax": AdversarialObjective(_minimax_generator, _minimax_discriminator),
    "wgangp": AdversarialObjective(_critic_generator, _wasserstein_discriminator),
    "hinge": AdversarialObjective(_critic_generator, _hinge_discriminator),
}


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """E[(|grad D(z)| - 1)^2] at random points z between real and fake (N, C, H, W) (Gulrajani et al. 2017, eq. 3)."""
    share = torch.rand(len(real), 1, 1, 1, device=real.device, dtype=real.dtype)
    between = (share * real + (1 - share) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()
