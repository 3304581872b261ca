"""Translates images of any size in bounded memory, with the same result as the whole image at once.

Instance norm needs the mean and variance over all pixels of an image, so tiles that are translated one by one differ in
color and show seams. Here the network runs stage by stage instead: what lies between two normalizations is computed in
bands of rows, each with the rows around it that its convolutions need, while mean and variance are accumulated over
all bands; then the next stage starts. Intermediate results are kept in memory or, above a budget, in a temporary file.
Large arrays that are cheaper to recompute than to keep are recomputed.
"""

from collections.abc import Callable
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, relu

from cyclegan.errors import UsageError
from cyclegan.networks.generator import ColorSpaceGenerator, Generator
from cyclegan.networks.layers import BatchNorm, BlurDown, BlurUp, ChannelScale, Dropout, Residual, UNetLevel
from cyclegan.translation.streaming.lazy_rows import (
    Bands,
    Binary,
    ConvRows,
    Crop,
    FixedDropout,
    Materialized,
    Pointwise,
    Reflected,
    Rows,
    Source,
)

Progress = Callable[[int, int], None]  # called with the number of finished bands and of all bands

STEP = 4  # rows: bands are multiples of this, so that no Winograd tile is half empty
BAND_SHARE, ARRAY_SHARE = 1 / 4, 1 / 8  # of the budget: a band with all it is computed from; an array kept in memory
MAX_BAND = 64 << 20  # bytes of such a band; larger ones lose time to fresh pages from the operating system
CHUNK = 1 << 18  # values whose statistics are computed at once: their doubles stay in the CPU's cache


class StreamingExecutor:
    """Runs a network band by band within `memory` bytes; calls `progress` after each band.

    With `dry_run` nothing is computed: bands are only counted in `total`, and `min_memory` is found.
    """

    def __init__(
        self, memory: int, *, dry_run: bool = False, total: int = 0, progress: Progress = lambda done, total: None
    ):
        self.memory, self.dry_run, self.full_height = memory, dry_run, 0
        self.done, self.total, self.progress = 0, total, progress
        self.min_memory = 0  # bytes with which all bands keep to their share, set by a dry run

    def run(self, generator: Generator, image: Rows) -> Rows:
        """The translation of an image in [-1, 1]: all but the last stage is computed, which follows on demand.

        Equal to the result of the whole image up to single-precision rounding. Raises `UsageError` for a generator
        that cannot be streamed, and `CycleGANError` when the disk has no space for intermediate results.
        """
        if isinstance(generator, ColorSpaceGenerator):
            encoded = Pointwise(image, generator.encode, generator.in_channels)
            return Binary(image, self.run(generator.network, encoded), generator.decode, generator.out_channels)
        stages = generator.stages()
        if stages is None:
            raise UsageError(
                f"{type(generator).__name__} has no stages and cannot be streamed; allow more memory for whole images."
            )
        multiple, min_size = generator.size_multiple, generator.min_size
        height, width = (max(min_size, ceil(side / multiple) * multiple) for side in (image.height, image.width))
        self.full_height = height
        rows: Rows = Reflected(image, 0, height - image.height, 0, width - image.width)
        for stage in stages:
            rows = self.apply(stage, rows)
        return Crop(rows, image.height, image.width)

    def apply(self, module: nn.Module, below: Rows) -> Rows:
        """The output of a module, as rows. Raises `UsageError` for modules that cannot be streamed."""
        if isinstance(module, nn.Sequential):
            for part in module:
                below = self.apply(part, below)
            return below
        if isinstance(module, Residual):
            return self._materialize(Binary(below, self.apply(module.body, below), torch.add, below.channels))
        if isinstance(module, UNetLevel):
            inner = self._materialize(self.apply(module.down, below))
            above = self.apply(module.up, self.apply(module.deeper, inner))
            if not module.skip:
                return above
            channels = below.channels + above.channels
            return Binary(below, above, lambda left, right: torch.cat([left, right], 1), channels)
        if isinstance(module, nn.ReflectionPad2d):
            left, right, top, bottom = module.padding
            return Reflected(below, top, bottom, left, right)
        if isinstance(module, nn.InstanceNorm2d | BatchNorm):
            return self._normalize(below, module)
        if isinstance(module, Dropout) and module.noise_seed is not None:
            return FixedDropout(below, module)
        if isinstance(module, nn.Dropout | nn.Identity):
            return below
        if isinstance(module, nn.ReLU):
            return Pointwise(below, relu)
        if isinstance(module, nn.LeakyReLU):
            return Pointwise(below, lambda band: leaky_relu(band, module.negative_slope))
        if isinstance(module, nn.Tanh):
            return Pointwise(below, torch.tanh)
        if isinstance(module, ChannelScale):
            return Pointwise(below, module)
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | BlurDown | BlurUp | nn.PixelShuffle | nn.PixelUnshuffle):
            return ConvRows(below, module)
        raise UsageError(f"A generator with {type(module).__name__} cannot be streamed.")

    def bands(self, rows: Rows) -> Bands:
        """First and end rows of bands that fit into the budget together with what they are computed from."""
        row_bytes = 4 * rows.width * rows.floats_per_pixel
        most = min(self.memory * BAND_SHARE, MAX_BAND)
        height = max(STEP, int(most / row_bytes) // STEP * STEP)
        if self.dry_run:
            self.total += ceil(rows.height / height)
            self.min_memory = max(self.min_memory, ceil(STEP * row_bytes / BAND_SHARE))
            return
        for first in range(0, rows.height, height):
            yield first, min(first + height, rows.height)
            self.done += 1
            self.progress(self.done, self.total)

    def _materialize(self, rows: Rows) -> Rows:
        if rows.cheap:
            return rows
        bands = self.bands(rows)
        if self.dry_run:
            list(bands)
            return Source(rows.channels, rows.height, rows.width, rows.read)
        size = 4 * rows.channels * rows.height * rows.width
        return Materialized(rows, bands, on_disk=size > self.memory * ARRAY_SHARE)

    def _normalize(self, rows: Rows, norm: nn.InstanceNorm2d | BatchNorm) -> Rows:
        """Normalization by the image's own statistics, which batch norm uses in eval mode too."""
        if rows.height < self.full_height:  # at full resolution arrays are largest, and cheapest to recompute
            rows = self._materialize(rows)
        mean, variance = statistics(rows, self.bands(rows))
        scale = (variance + norm.eps).rsqrt()
        shift = -mean * scale
        if norm.weight is not None:
            weight, bias = norm.weight.detach().cpu().double(), norm.bias.detach().cpu().double()
            scale, shift = scale * weight, shift * weight + bias
        weight, bias = scale.float()[:, None, None], shift.float()[:, None, None]
        return Pointwise(rows, lambda band: torch.addcmul(bias.to(band.device), band, weight.to(band.device)))


def statistics(rows: Rows, bands: Bands) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel over all bands, (C) in double precision (Chan et al. 1979)."""
    count, mean, squares = 0, torch.zeros(rows.channels, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    chunk_rows = max(1, CHUNK // (rows.channels * rows.width))
    for first, end in bands:
        for chunk in torch.split(rows.read(first, end)[0], chunk_rows, 1):
            values = (chunk if chunk.is_cuda else chunk.cpu()).flatten(1).double()  # some GPUs have no doubles
            n, center = values.shape[1], values.mean(1)
            values -= center[:, None]
            within, shift = torch.linalg.vecdot(values, values).cpu(), center.cpu() - mean
            squares = squares + within + shift.square() * count * n / (count + n)
            mean = mean + shift * n / (count + n)
            count += n
    return mean, squares / max(count, 1)


def stream(
    generator: Generator, image: Rows, memory: int, write: Callable[[int, Tensor], None], progress: Progress
) -> None:
    """Translate an image within about `memory` bytes; `write` is called with (first row, band), top to bottom.

    Raises as `StreamingExecutor.run`, and `UsageError` when the memory is too small for the narrowest bands.
    """
    dry = StreamingExecutor(memory, dry_run=True)
    list(dry.bands(dry.run(generator, image)))
    if dry.min_memory > memory:
        more = ceil((dry.min_memory - memory) / 2**20)
        raise UsageError(f"There is too little memory for an image of this width; {more} MiB more are needed.")
    executor = StreamingExecutor(memory, total=dry.total, progress=progress)
    result = executor.run(generator, image)
    for first, end in executor.bands(result):
        write(first, result.read(first, end))
