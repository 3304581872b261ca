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


OBJECTIVES: dict[str, AdversarialObjective] = {
    # E[(D(G(x)) - 1)^2]; 1/2 E[(D(y) - 1)^2] + 1/2 E[D(G(x))^2] (Mao et al. 2017) [C 4]
    "lsgan": AdversarialObjective(
        generator=lambda fake: (fake - 1).square().mean(),
        real=lambda real: (real - 1).square().mean() / 2,
        fake=lambda fake: fake.square().mean() / 2,
        middle=0.5,
    ),
    # E[-log D(G(x))], non-saturating (Goodfellow et al. 2014); -1/2 E[log D(y)] - 1/2 E[log(1 - D(G(x)))] [C eq. 1]
    "vanilla": AdversarialObjective(
        generator=lambda fake: softplus(-fake).mean(),
        real=lambda real: softplus(-real).mean() / 2,
        fake=lambda fake: softplus(fake).mean() / 2,
    ),
    # E[log(1 - D(G(z)))], whose gradient is small while D is confident; -E[log D(x)] - E[log(1 - D(G(z)))]
    # (Goodfellow et al. 2014, eq. 1)
    "minimax": AdversarialObjective(
        generator=lambda fake: -softplus(fake).mean(),
        real=lambda real: softplus(-real).mean(),
        fake=lambda fake: softplus(fake).mean(),
    ),
    # -E[D(G(x))]; E[D(G(x))] - E[D(y)] (Arjovsky et al. 2017)
    "wgangp": AdversarialObjective(
        generator=lambda fake: -fake.mean(), real=lambda real: -real.mean(), fake=lambda fake: fake.mean()
    ),
    # -E[D(G(x))]; 1/2 E[max(0, 1 - D(y))] + 1/2 E[max(0, 1 + D(G(x)))] (Lim and Ye 2017)
    "hinge": AdversarialObjective(
        generator=lambda fake: -fake.mean(),
        real=lambda real: relu(1 - real).mean() / 2,
        fake=lambda fake: relu(1 + fake).mean() / 2,
    ),
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
