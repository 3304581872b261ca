"""An exponential moving average of the generators' weights, which translates better than their last state."""

import copy

import torch
from torch import nn


class Average:
    """A copy of `generators` that follows them with each `update`.

    Early on it forgets faster, at 1 - (1 + n)/(10 + n) for the n-th update, so that short trainings gain as well.
    """

    def __init__(self, generators: nn.ModuleDict, decay: float):
        self.generators = copy.deepcopy(generators).requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, generators: nn.ModuleDict) -> None:
        """Come nearer to the generators; the first time, become them."""
        self.updates += 1
        n = self.updates - 1
        share = 1.0 if n == 0 else 1 - min(self.decay, (1 + n) / (10 + n))
        torch._foreach_lerp_(list(self.generators.parameters()), list(generators.parameters()), share)
        for mine, theirs in zip(self.generators.buffers(), generators.buffers(), strict=True):
            mine.copy_(theirs)
