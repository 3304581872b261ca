"""Images of any size in overlapping windows, each translated by itself: cheaper than streaming, and approximate.

Instance norm uses each window's own mean and variance, so that neighbors differ where they overlap. They are
cross-faded there, and the difference is measured as an indication of the error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, pi

import torch
from torch import Tensor

from cyclegan.translation.streaming.lazy_rows import Rows

OVERLAP = 8  # a window shares one eighth of its side with the next one
LEVELS = 127.5  # 8-bit levels for a difference of 1 in [-1, 1]


@dataclass
class Overlaps:
    """Differences between windows where two of them overlap, in 8-bit levels."""

    windows: int = 0
    count: int = 0
    total: float = 0.0
    largest: float = 0.0

    def add(self, one: Tensor, other: Tensor) -> None:
        """Compare the results of two windows for the same pixels."""
        if one.numel():
            differences = (one - other).abs() * LEVELS
            self.count += differences.numel()
            self.total += float(differences.sum(dtype=torch.float64))
            self.largest = max(self.largest, float(differences.max()))

    @property
    def mean(self) -> float:
        """0 if nothing overlapped."""
        return self.total / max(self.count, 1)


def translate_windows(
    translate: Callable[[Tensor], Tensor],
    image: Rows,
    side: int,
    write: Callable[[int, Tensor], None],
    progress: Callable[[int, int], None],
    overlaps: Overlaps,
) -> None:
    """Translate an image in windows of `side` pixels; `write` is called with (first row, band (C, h, W)), in order.

    `progress` is called with the number of finished windows and of all.
    """
    height, width = min(side, image.height), min(side, image.width)
    tops, lefts = window_starts(image.height, height), window_starts(image.width, width)
    fades_y, fades_x = fade_weights(image.height, height, tops), fade_weights(image.width, width, lefts)
    above: list[Tensor] = []  # the part of the previous row of windows that this row overlaps
    carried = torch.empty(0, 0, 0)  # weighted sums of these pixels
    for top, end, fade_y in zip(tops, [*tops[1:], image.height], fades_y, strict=True):
        band, results = image.read(top, top + height), []
        for left in lefts:
            results.append(translate(band[..., left : left + width])[0].float().cpu())
            overlaps.windows += 1
            progress(tops.index(top) * len(lefts) + len(results), len(tops) * len(lefts))
        _compare(overlaps, above, results, lefts)
        sums = torch.zeros(len(results[0]), height, image.width)
        for left, window, fade_x in zip(lefts, results, fades_x, strict=True):
            sums[..., left : left + width] += window * fade_x
        sums *= fade_y[:, None]
        if above:
            sums[:, : carried.shape[1]] += carried
        write(top, sums[:, : end - top])
        carried, above = sums[:, end - top :], [window[:, end - top :].clone() for window in results]


def _compare(overlaps: Overlaps, above: list[Tensor], results: list[Tensor], lefts: list[int]) -> None:
    """Each window of a row with the one above and with the one to its left."""
    for upper, lower in zip(above, results, strict=False):
        overlaps.add(upper, lower[:, : upper.shape[1]])
    for (one, other), (left, right) in zip(pairwise(results), pairwise(lefts), strict=True):
        overlaps.add(one[..., right - left :], other[..., : one.shape[2] - (right - left)])


def window_starts(length: int, side: int) -> list[int]:
    """First pixels of windows that are spread evenly over a length and share at least an eighth of their sides."""
    if length <= side:
        return [0]
    steps = ceil((length - side) / (side - side // OVERLAP))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]


def fade_weights(length: int, side: int, starts: list[int]) -> Tensor:
    """The weights (windows, side) of each window along a length: cosines toward neighbors, with a sum of 1."""
    position = torch.arange(side) + 0.5
    weights = torch.ones(len(starts), side)
    for number, (one, other) in enumerate(pairwise(starts)):
        shared = side - (other - one)
        rise = (1 - torch.cos(pi * (position / shared).clamp(max=1))) / 2
        weights[number + 1] *= rise
        weights[number] *= rise.flip(0)
    sums = torch.zeros(length)
    for start, weight in zip(starts, weights, strict=True):
        sums[start : start + side] += weight
    return torch.stack([weight / sums[start : start + side] for start, weight in zip(starts, weights, strict=True)])
