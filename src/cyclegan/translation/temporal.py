"""Less flicker in video: normalization by statistics that are with_temporal_smoothing from frame to frame.

A generator normalizes each frame by its own mean and variance, so that a thing that enters at one side changes the
colors at the other. Smoothing them exponentially over time takes most of that away; moving things stay as they are.
"""

import copy

import torch
from torch import Tensor, nn

from cyclegan.errors import UsageError
from cyclegan.networks.layers import BatchNorm
from cyclegan.networks.winograd import allow
from cyclegan.translation.translator import Translator


class SmoothedNorm(nn.Module):
    """An instance norm (N = 1) whose mean and variance follow those of the frames: m <- share m + (1 - share) mean."""

    def __init__(self, norm: nn.InstanceNorm2d | BatchNorm, share: float):
        super().__init__()
        self.weight: Tensor | None = norm.weight  # None without affine parameters
        self.bias, self.eps, self.share = norm.bias, norm.eps, share
        self.statistics: tuple[Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(1, C, H, W) to the same shape."""
        variance, mean = torch.var_mean(x, (0, 2, 3), unbiased=False, keepdim=True)
        if self.statistics is not None:
            last_mean, last_variance = self.statistics
            mean, variance = mean.lerp(last_mean, self.share), variance.lerp(last_variance, self.share)
        self.statistics = mean, variance
        y = (x - mean) * torch.rsqrt(variance + self.eps)
        if self.weight is None:
            return y
        return y * self.weight.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def with_temporal_smoothing(translator: Translator, share: float) -> Translator:
    """A translator for the frames of one video; `share` of the statistics is kept from frame to frame, 0 to 1.

    Raises `UsageError` for generators without such statistics, and for shares that are none.
    """
    if not 0 <= share < 1:
        raise UsageError(f"--smooth is {share}; it must be at least 0 and less than 1.")
    generator = copy.deepcopy(translator.generator)
    norms = [(m, n, c) for m in generator.modules() for n, c in m.named_children() if isinstance(c, NORMS)]
    if not norms:
        raise UsageError("--smooth needs a generator that normalizes each image by itself, and no export.")
    for module, name, norm in norms:
        setattr(module, name, SmoothedNorm(norm, share))
    settings = translator.reading.span, translator.writing.span
    channels, device = (translator.in_channels, translator.out_channels), translator.device
    memory, ground = translator.any_size.memory, translator.reading.background
    new = Translator(generator, channels, device, translator.method, settings, ground, memory, winograd=False)
    allow(generator, True)  # the convolutions may; only a rewritten generator would lose the norms
    return new


NORMS = (nn.InstanceNorm2d, BatchNorm)
