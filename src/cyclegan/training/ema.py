"""An exponential moving average of the generators' weights, which translates better than their last state."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(generators: nn.Module, decay: float) -> AveragedModel:
    """A copy of `generators` to be kept up with ``update_parameters(generators)`` after each step.

    Early on it forgets faster, at 1 - (1 + n)/(10 + n) for the n-th update, so that short trainings gain as well.
    """

    @torch.no_grad()
    def update(average: Sequence[Tensor], current: Sequence[Tensor], count: Any) -> None:
        n = int(count)
        torch._foreach_lerp_(list(average), list(current), 1 - min(decay, (1 + n) / (10 + n)))

    return AveragedModel(generators, multi_avg_fn=update)
