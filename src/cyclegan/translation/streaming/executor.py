"""Images of any size through a generator in bounded memory, with the result of the whole image.

A generator with instance norm looks at the whole image: each normalization needs the mean and variance over all pixels.
Cutting an image into tiles and translating each alone therefore changes colors and shows seams. Here the network is
walked stage by stage instead: what lies between two normalizations is computed band by band of rows, each with the
rows around it that its convolutions need, while mean and variance are gathered over all bands; then the next stage
begins. What stages hand over is kept in memory or, beyond a budget, in a temporary file. Large arrays that are cheaper
to compute again than to keep are computed again.
"""

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, relu

from cyclegan.errors import UsageError
from cyclegan.networks.layers import BatchNorm, BlurDown, BlurUp, Dropout
from cyclegan.networks.resnet import ResidualBlock, ResNetGenerator, SeparableResidualBlock
from cyclegan.networks.unet import UNetGenerator, UNetLevel
from cyclegan.translation.streaming.lazy_rows import (
    Bands,
    Cut,
    Dropped,
    Joined,
    Kept,
    Local,
    Mirrored,
    Pointwise,
    Rows,
    Source,
)

Progress = Callable[[int, int], None]  # is told how many bands are done, and how many there are

STEP = 4  # bands have multiples of so many rows, which leaves no tile of Winograd's half empty
BAND_SHARE, KEPT_SHARE = 1 / 4, 1 / 8  # of the budget, for a band with all it is computed from, and for a kept array
BAND_MOST = 64 << 20  # bytes of such a band; with more, time is lost to the system, which gives each array new memory
CHUNK = 1 << 18  # numbers whose statistics are gathered at once: their doubles stay in the processor's cache


class Walk:
    """One walk through a network with `memory` bytes, of which `progress` hears after every band.

    A `dry` walk visits no band, and only counts them in `total` and finds the `least` memory.
    """

    def __init__(
        self, memory: int, *, dry: bool = False, total: int = 0, progress: Progress = lambda done, total: None
    ):
        self.memory, self.dry, self.full_height = memory, dry, 0
        self.done, self.total, self.progress = 0, total, progress
        self.least = 0  # bytes with which all bands keep their share, found by a dry walk

    def through(self, module: nn.Module, below: Rows) -> Rows:
        """What the module makes of an array. Raises `UsageError` for modules that cannot be walked."""
        if isinstance(module, nn.Sequential):
            for part in module:
                below = self.through(part, below)
            return below
        if isinstance(module, ResidualBlock | SeparableResidualBlock):
            return self._kept(Joined(below, self.through(module.body, below), torch.add, below.channels))
        if isinstance(module, UNetLevel):
            return self._through_level(module, below)
        if isinstance(module, nn.ReflectionPad2d):
            left, right, top, bottom = module.padding
            return Mirrored(below, top, bottom, left, right)
        if isinstance(module, nn.InstanceNorm2d | BatchNorm):
            return self._normalized(below, module)
        if isinstance(module, Dropout) and module.noise_seed is not None:
            return Dropped(below, module)
        if isinstance(module, nn.Dropout | nn.Identity):
            return below
        if isinstance(module, nn.ReLU):
            return Pointwise(below, relu)
        if isinstance(module, nn.LeakyReLU):
            return Pointwise(below, lambda band: leaky_relu(band, module.negative_slope))
        if isinstance(module, nn.Tanh):
            return Pointwise(below, torch.tanh)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | BlurDown | BlurUp):
            return Local(below, module)
        raise UsageError(f"A generator with {type(module).__name__} cannot be walked in bands.")

    def _through_level(self, level: UNetLevel, below: Rows) -> Rows:
        inner = self._kept(self.through(level.down, below))
        above = self.through(level.up, self.through(level.deeper, inner))
        if not level.skip:
            return above
        both = below.channels + above.channels
        return Joined(below, above, lambda left, right: torch.cat([left, right], 1), both)

    def bands(self, array: Rows) -> Bands:
        """First and end rows that fit into the budget together with what they are computed from."""
        row = 4 * array.width * array.load
        most = min(self.memory * BAND_SHARE, BAND_MOST)
        height = max(STEP, int(most / row) // STEP * STEP)
        if self.dry:
            self.total += ceil(array.height / height)
            self.least = max(self.least, ceil(STEP * row / BAND_SHARE))
            return
        for first in range(0, array.height, height):
            yield first, min(first + height, array.height)
            self.done += 1
            self.progress(self.done, self.total)

    def _kept(self, array: Rows) -> Rows:
        if array.kept:
            return array
        bands = self.bands(array)
        if self.dry:
            list(bands)
            return Source(array.channels, array.height, array.width, array.rows)
        size = 4 * array.channels * array.height * array.width
        return Kept(array, bands, on_disk=size > self.memory * KEPT_SHARE)

    def _normalized(self, array: Rows, norm: nn.InstanceNorm2d | BatchNorm) -> Rows:
        """The image's own statistics applied, in translation those of batch norm as well."""
        if array.height < self.full_height:  # at full resolution arrays are largest, and cheapest to compute again
            array = self._kept(array)
        mean, variance = statistics(array, self.bands(array))
        scale = (variance + norm.eps).rsqrt()
        shift = -mean * scale
        if norm.weight is not None:
            weight, bias = norm.weight.detach().cpu().double(), norm.bias.detach().cpu().double()
            scale, shift = scale * weight, shift * weight + bias
        weight, bias = scale.float()[:, None, None], shift.float()[:, None, None]
        return Pointwise(array, lambda band: torch.addcmul(bias.to(band.device), band, weight.to(band.device)))


def statistics(array: Rows, bands: Bands) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel over all bands, (C) in double precision (Chan et al. 1979)."""
    count, mean, squares = 0, torch.zeros(array.channels, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    rows = max(1, CHUNK // (array.channels * array.width))
    for first, end in bands:
        for chunk in torch.split(array.rows(first, end)[0], rows, 1):
            values = (chunk if chunk.is_cuda else chunk.cpu()).flatten(1).double()  # not all GPUs have doubles
            n, center = values.shape[1], values.mean(1)
            values -= center[:, None]
            within, shift = torch.linalg.vecdot(values, values).cpu(), center.cpu() - mean
            squares = squares + within + shift.square() * count * n / (count + n)
            mean = mean + shift * n / (count + n)
            count += n
    return mean, squares / max(count, 1)


def translated(generator: nn.Module, image: Rows, walk: Walk) -> Rows:
    """What a generator makes of an image in [-1, 1]: walked but for the last stage, which follows as it is asked for.

    Equal to the result of the whole image up to the rounding of single precision. Raises `UsageError` for a generator
    that cannot be walked, and `CycleGANError` when the disk has no room for intermediate results.
    """
    if isinstance(generator, ResNetGenerator):
        parts, multiple, least = [*generator.children()], 4, 8
    elif isinstance(generator, UNetGenerator):
        parts, multiple, least = [generator.levels], generator.multiple, generator.multiple
    else:
        raise UsageError(f"A {type(generator).__name__} cannot be walked in bands.")
    height, width = (max(least, ceil(side / multiple) * multiple) for side in (image.height, image.width))
    walk.full_height = height
    array: Rows = Mirrored(image, 0, height - image.height, 0, width - image.width)
    for part in parts:
        array = walk.through(part, array)
    return Cut(array, image.height, image.width)


def in_bands(
    translate: Callable[[Walk], Rows], memory: int, write: Callable[[int, Tensor], None], progress: Progress
) -> None:
    """Compute what `translate` makes by a walk with about `memory` bytes; `write` takes (first row, band) in turn.

    Raises `UsageError` when these are too few for the narrowest bands.
    """
    dry = Walk(memory, dry=True)
    list(dry.bands(translate(dry)))
    if dry.least > memory:
        more = ceil((dry.least - memory) / 2**20)
        raise UsageError(f"There is too little memory for an image so wide; {more} MiB more are needed.")
    walk = Walk(memory, total=dry.total, progress=progress)
    result = translate(walk)
    for first, end in walk.bands(result):
        write(first, result.rows(first, end))
