"""Less flicker in videos: normalization statistics smoothed over frames.

A generator normalizes each frame by its own mean and variance, so that an object that enters on one side changes the
colors on the other. Exponential smoothing of the statistics removes most of that; moving objects stay sharp.
"""

import copy

import torch
from torch import Tensor, nn

from cyclegan.errors import UsageError
from cyclegan.networks.layers import BatchNorm
from cyclegan.translation.translator import Translator


class SmoothedNorm(nn.Module):
    """An instance norm (N = 1) whose statistics are m <- decay m + (1 - decay) mean, and the variance's likewise."""

    def __init__(self, norm: nn.InstanceNorm2d | BatchNorm, decay: float):
        super().__init__()
        self.weight: Tensor | None = norm.weight  # None without affine parameters
        self.bias, self.eps, self.decay = norm.bias, norm.eps, decay
        self.statistics: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(1, C, H, W) to the same shape."""
        variance, mean = torch.var_mean(x, (0, 2, 3), unbiased=False, keepdim=True)
        if self.statistics is not None:
            previous_mean, previous_variance = self.statistics
            mean, variance = mean.lerp(previous_mean, self.decay), variance.lerp(previous_variance, self.decay)
        self.statistics = mean, variance
        y = (x - mean) * torch.rsqrt(variance + self.eps)
        if self.weight is None:
            return y
        return y * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def with_temporal_smoothing(translator: Translator, decay: float) -> Translator:
    """A translator for the frames of one video, which keeps the fraction `decay` of the statistics from frame to frame.

    Raises `UsageError` for a generator without instance norms, and for a `decay` outside [0, 1).
    """
    if not 0 <= decay < 1:
        raise UsageError(f"--smooth is {decay}; it must be at least 0 and less than 1.")
    generator = copy.deepcopy(translator.generator)
    norms = [(m, n, c) for m in generator.modules() for n, c in m.named_children() if isinstance(c, NORMS)]
    if not norms:
        raise UsageError("--smooth needs a generator that normalizes each image by itself; exports do not work.")
    for module, name, norm in norms:
        setattr(module, name, SmoothedNorm(norm, decay))
    return translator.with_generator(generator, rewrite=False)  # a rewritten generator would lose the norms


NORMS = (nn.InstanceNorm2d, BatchNorm)
