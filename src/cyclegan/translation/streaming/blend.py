"""Images of any size in overlapping windows, each translated alone: cheaper than the walk, and approximate.

Instance norm sees each window's own mean and variance, so neighbors differ where they overlap. They are faded into
one another there, and the difference is measured: it says how far the result may be from that of the whole image.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, pi

import torch
from torch import Tensor

from cyclegan.translation.streaming.lazy_rows import Rows

OVERLAP = 8  # a window shares this part of its side, one eighth, with the next one
LEVELS = 127.5  # of 8 bit for one unit of [-1, 1]


@dataclass
class Overlaps:
    """How much windows differ where two of them overlap, in levels of 8 bit."""

    windows: int = 0
    count: int = 0
    total: float = 0.0
    largest: float = 0.0

    def add(self, one: Tensor, other: Tensor) -> None:
        """Compare what two windows made of the same pixels."""
        if one.numel():
            differences = (one - other).abs() * LEVELS
            self.count += differences.numel()
            self.total += float(differences.sum(dtype=torch.float64))
            self.largest = max(self.largest, float(differences.max()))

    @property
    def mean(self) -> float:
        """0 if nothing overlapped."""
        return self.total / max(self.count, 1)


def in_windows(
    translate: Callable[[Tensor], Tensor],
    image: Rows,
    side: int,
    write: Callable[[int, Tensor], None],
    progress: Callable[[int, int], None],
    overlaps: Overlaps,
) -> None:
    """Translate an image in windows of `side` pixels; `write` takes (first row, band (C, h, W)) from the top down.

    `progress` is told how many windows are done, and how many there are; `overlaps` gathers their differences.
    """
    height, width = min(side, image.height), min(side, image.width)
    tops, lefts = starts(image.height, height), starts(image.width, width)
    fades_y, fades_x = fades(image.height, height, tops), fades(image.width, width, lefts)
    above: list[Tensor] = []  # what of the last row of windows lies under this one
    begun = torch.empty(0, 0, 0)  # faded sums of these rows
    for top, end, fade_y in zip(tops, [*tops[1:], image.height], fades_y, strict=True):
        band, made = image.rows(top, top + height), []
        for left in lefts:
            made.append(translate(band[..., left : left + width])[0].float().cpu())
            overlaps.windows += 1
            progress(tops.index(top) * len(lefts) + len(made), len(tops) * len(lefts))
        _compare(overlaps, above, made, lefts)
        sums = torch.zeros(len(made[0]), height, image.width)
        for left, window, fade_x in zip(lefts, made, fades_x, strict=True):
            sums[..., left : left + width] += window * fade_x
        sums *= fade_y[:, None]
        if above:
            sums[:, : begun.shape[1]] += begun
        write(top, sums[:, : end - top])
        begun, above = sums[:, end - top :], [window[:, end - top :].clone() for window in made]


def _compare(overlaps: Overlaps, above: list[Tensor], made: list[Tensor], lefts: list[int]) -> None:
    """Each window of a row with the one above and with the one to its left."""
    for upper, lower in zip(above, made, strict=False):
        overlaps.add(upper, lower[:, : upper.shape[1]])
    for (one, other), (left, right) in zip(pairwise(made), pairwise(lefts), strict=True):
        overlaps.add(one[..., right - left :], other[..., : one.shape[2] - (right - left)])


def starts(length: int, side: int) -> list[int]:
    """Where windows begin, evenly over a length, that share at least an eighth of their sides."""
    if length <= side:
        return [0]
    share = side // OVERLAP
    steps = ceil((length - side) / (side - share))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]


def fades(length: int, side: int, begins: list[int]) -> Tensor:
    """The weights (windows, side) of each window along a length: cosines toward neighbors, of sum 1 everywhere."""
    position = torch.arange(side) + 0.5
    weights = torch.ones(len(begins), side)
    for number, (one, other) in enumerate(pairwise(begins)):
        share = side - (other - one)
        rise = (1 - torch.cos(pi * (position / share).clamp(max=1))) / 2
        weights[number + 1] *= rise
        weights[number] *= rise.flip(0)
    sums = torch.zeros(length)
    for begin, weight in zip(begins, weights, strict=True):
        sums[begin : begin + side] += weight
    return torch.stack([w / sums[b : b + side] for b, w in zip(begins, weights, strict=True)])
