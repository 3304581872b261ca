"""Images as training sees them: random pairs, crops and flips, each a function of seed, epoch and position alone.

Nothing here has a state, so that a resumed run sees exactly what the uninterrupted one would have seen, whatever the
number of loader processes.
"""

import os
import random
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import PIL
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cyclegan._version import __version__
from cyclegan.config.schema import DataConfig
from cyclegan.data.cache import Array, ArrayCache
from cyclegan.data.layouts import SplitFiles
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.decode import HAS_DEEP_PNG, read_pixels, read_stored
from cyclegan.imaging.image import DecodeSpec, resize, to_tensor
from cyclegan.imaging.source import Half, Source, UnreadableImage
from cyclegan.imaging.value_range import Range, fixed_range, parse_range
from cyclegan.system.machine import cpu_count


class Place(NamedTuple):
    """One item of a training: the epoch (from 0), the position within it, and the image numbers of A and B."""

    epoch: int
    position: int
    a: int
    b: int


def decode_specs(config: DataConfig) -> dict[str, DecodeSpec]:
    """How images of "A" and of "B" are read. Percentiles must have become numbers before."""
    return {
        "A": DecodeSpec(config.channels_a, fixed_range(config.range_a), config.background),
        "B": DecodeSpec(config.channels_b, fixed_range(config.range_b), config.background),
    }


@dataclass(frozen=True)
class LoadedBatch:
    """What a dataset or a loader delivers: images, and the problems of loading them.

    Problems are data, because PyTorch turns an exception in a loader process into a traceback.
    """

    images: dict[str, Tensor] = field(default_factory=dict)  # "A" and "B" in [-1, 1]: (C, H, W), batched (N, C, H, W)
    unreadable: dict[str, str] = field(default_factory=dict)  # path -> error message; other images take their place
    cache_problem: str | None = None  # why decoded images are no longer cached
    error: CycleGANError | None = None  # why there are no images

    def pin_memory(self) -> "LoadedBatch":
        """The same batch in page-locked memory. `DataLoader` calls this."""
        return replace(self, images={domain: images.pin_memory() for domain, images in self.images.items()})


class UnpairedImages(Dataset[LoadedBatch]):
    """Items with an image of each domain.

    An unreadable image is replaced by the next readable one of its domain; with ``config.strict`` it is the item's
    error. Decoded images are kept in `cache`.
    """

    def __init__(self, files: SplitFiles, config: DataConfig, seed: int, cache: ArrayCache | None = None):
        self.a, self.b = files.a[: config.max_images], files.b[: config.max_images]
        self.rows: dict[str, list[tuple[Source, ...]]] = {
            "A": [(path,) for path in self.a],
            "B": [(path,) for path in self.b],
        }
        self.config = config
        self.readings = decode_specs(config)
        self.seed = seed
        self.cache = cache

    def __len__(self) -> int:
        """Items an epoch: the size of the larger domain [R]."""
        return max(len(self.a), len(self.b))

    def place(self, epoch: int, position: int) -> Place:
        """Which A meets which B: A in shuffled order, B drawn uniformly [R]; fixed with `serial_batches`."""
        if self.config.serial_batches:
            return Place(epoch, position, position % len(self.a), position % len(self.b))
        a = _shuffled(len(self), self.seed, epoch)[position] % len(self.a)
        b = random.Random(f"B {self.seed} {epoch} {position}").randrange(len(self.b))
        return Place(epoch, position, int(a), b)

    def __getitem__(self, at: tuple[int, int]) -> LoadedBatch:
        """The item at (epoch, position)."""
        place = self.place(*at)
        images, unreadable = {}, dict[str, str]()
        for domain, number in (("A", place.a), ("B", place.b)):
            try:
                (pixels,) = self._readable(self.rows[domain], number, (self.readings[domain],), unreadable)
            except CycleGANError as error:
                return LoadedBatch(error=error)
            draw = random.Random(f"{domain} {self.seed} {place.epoch} {place.position}")
            images[domain] = to_tensor(random_crop(pixels, self.config, draw))
        return LoadedBatch(images, unreadable, self.cache_problem())

    def _readable(
        self,
        rows: Sequence[tuple[Source, ...]],
        first: int,
        readings: tuple[DecodeSpec, ...],
        unreadable: dict[str, str],
    ) -> list[Array]:
        """The pixels of a row of files, each by its reading: row number `first`, or the next that can be read."""
        said = ""
        for number in range(first, first + len(rows)):
            row = rows[number % len(rows)]
            try:
                return [self._pixels(source, reading) for source, reading in zip(row, readings, strict=False)]
            except UnreadableImage as error:
                if self.config.strict:
                    raise
                said = said or str(error)
                unreadable[str(row[0])] = str(error)
        raise UsageError(f"None of the {len(rows)} images beside {rows[first][0]} can be read. The first: {said}")

    def _pixels(self, source: Source, reading: DecodeSpec) -> Array:
        """As `load_resized`, from the cache where there is one."""
        if self.cache is None:
            return load_resized(source, reading, self.config)
        try:
            identity = _identity(source, reading, self.config)
        except OSError:  # there is no such file; let it be said as without a cache
            return load_resized(source, reading, self.config)
        return self.cache.array(identity, lambda: load_resized(source, reading, self.config))

    def images(self) -> list[tuple[Source, DecodeSpec]]:
        """All files to be read, each with how it is read."""
        sides = (self.a, self.readings["A"]), (self.b, self.readings["B"])
        return list(dict.fromkeys((source, reading) for files, reading in sides for source in files))

    def preload(self, images: Sequence[tuple[Source, DecodeSpec]]) -> Iterator[int]:
        """Decode images into the cache on all processors, and yield the bytes that each takes; unreadable ones take 0.

        It ends when the cache takes no more. Raises `UnreadableImage` with ``config.strict``.
        """
        pool = ThreadPoolExecutor(cpu_count())  # decoding and resizing need no interpreter
        try:
            for size in pool.map(self._size, images):
                yield size
                if self.cache is None or self.cache.trouble:
                    return
        finally:
            pool.shutdown(cancel_futures=True)

    def _size(self, image: tuple[Source, DecodeSpec]) -> int:
        try:
            return self._pixels(*image).nbytes
        except UnreadableImage:
            if self.config.strict:
                raise
            return 0

    def cache_problem(self) -> str | None:
        """A sentence on what keeps images from being cached, if something does."""
        problem = self.cache.trouble if self.cache is not None else None
        return problem and f"The cache of decoded images {problem}; the others are decoded anew each time."


class PairedImages(UnpairedImages):
    """Items as of `UnpairedImages`, in which A and B belong together and are cropped and flipped alike.

    `files` are paired. If one image of a pair cannot be read, both are left out, and one is named.
    """

    def __init__(self, files: SplitFiles, config: DataConfig, seed: int, cache: ArrayCache | None = None):
        super().__init__(files, config, seed, cache)
        # A picture that is its own partner is read once.
        self.pairs = [(a, b) if a != b else (a,) for a, b in zip(self.a, self.b, strict=True)]

    def place(self, epoch: int, position: int) -> Place:
        """All pairs in shuffled order [R]; in their own with `serial_batches`."""
        number = position if self.config.serial_batches else int(_shuffled(len(self), self.seed, epoch)[position])
        return Place(epoch, position, number, number)

    def __getitem__(self, at: tuple[int, int]) -> LoadedBatch:
        """The item at (epoch, position)."""
        place, unreadable = self.place(*at), dict[str, str]()
        try:
            pixels = self._readable(self.pairs, place.a, (self.readings["A"], self.readings["B"]), unreadable)
        except CycleGANError as error:
            return LoadedBatch(error=error)
        a, b = (
            to_tensor(random_crop(each, self.config, random.Random(f"AB {self.seed} {place.epoch} {place.position}")))
            for each in (pixels[0], pixels[-1])
        )
        return LoadedBatch({"A": a, "B": b}, unreadable, self.cache_problem())


@lru_cache(maxsize=2)
def _shuffled(count: int, seed: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng([seed, epoch]).permutation(count)


def load_resized(source: Source, reading: DecodeSpec, config: DataConfig) -> Array:
    """The values (H, W, C) of an image at training size: all of its preparation that is not random [R].

    Raises `UnreadableImage`.
    """
    draft = config.draft and config.preprocess == "resize_and_crop"
    pixels = read_pixels(source, reading, min_side=2 * config.load_size if draft else None)
    return resize(pixels.values, training_size(pixels.size, config))


def _identity(source: Source, reading: DecodeSpec, config: DataConfig) -> str:
    """All that `load_resized` depends on: the file as it is now, the settings, the programs. Raises `OSError`."""
    path, side = (source.path, source.side) if isinstance(source, Half) else (source, "whole")
    file = path.stat()
    settings = config.preprocess, config.load_size, config.crop_size, config.draft
    programs = __version__, PIL.__version__, HAS_DEEP_PNG
    place = os.path.abspath(path)  # noqa: PTH100  (a link stays itself)
    return repr((place, side, file.st_size, file.st_mtime_ns, *reading, *settings, *programs))


def training_size(size: tuple[int, int], config: DataConfig) -> tuple[int, int]:
    """Width and height to which the configured policy brings an image of this width and height, before the crop [R].

    The "scale_" policies keep the aspect ratio; "none" rounds the sides to multiples of 4.
    """
    policy, load, crop = config.preprocess, config.load_size, config.crop_size
    width, height = size
    if policy == "resize_and_crop":
        width, height = load, load
    elif policy.startswith("scale_width"):
        width, height = load, max(round(height * load / width), crop)
    elif policy.startswith("scale_shortside"):
        scale = load / min(width, height)
        width, height = round(width * scale), round(height * scale)
    elif policy == "crop":
        scale = max(1.0, crop / min(width, height))  # an image smaller than the crop is enlarged to it
        width, height = round(width * scale), round(height * scale)
    if not policy.endswith("crop"):
        width, height = (max(4, round(side / 4) * 4) for side in (width, height))
    return width, height


def random_crop(values: Array, config: DataConfig, draw: random.Random) -> Array:
    """A view of prepared values (H, W, C): `draw` decides where the crop is, and whether it is mirrored."""
    if config.preprocess.endswith("crop"):
        height, width = values.shape[:2]
        left, top = draw.randint(0, width - config.crop_size), draw.randint(0, height - config.crop_size)
        values = values[top : top + config.crop_size, left : left + config.crop_size]
    return values[:, ::-1] if config.flip and draw.random() < 0.5 else values


class Batches(Sampler[list[tuple[int, int]]]):
    """The (epoch, position) pairs of one process's batches, from batch number `first` on, without end.

    An epoch has ``ceil(items / (batch_size x processes))`` batches; the last is filled up from the epoch's beginning.
    Processes share each global batch out, so that N processes see together what one sees with N times the batch.
    """

    def __init__(self, items: int, batch_size: int, *, first: int = 0, process: int = 0, processes: int = 1):
        self.items, self.batch_size, self.first = items, batch_size, first
        self.process, self.processes = process, processes
        self.per_epoch = -(-items // (batch_size * processes))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Batches as lists of keys of `UnpairedImages`."""
        number = self.first
        while True:
            epoch, batch = divmod(number, self.per_epoch)
            start = (batch * self.processes + self.process) * self.batch_size
            yield [(epoch, (start + i) % self.items) for i in range(self.batch_size)]
            number += 1


def collate(items: list[LoadedBatch]) -> LoadedBatch:
    """Stack items to a batch. It has the first item's error, or an error if image sizes differ."""
    for item in items:
        if item.error is not None:
            return item
    images = {}
    for domain in ("A", "B"):
        stack = [item.images[domain] for item in items]
        if len({image.shape for image in stack}) > 1:
            sentence = (
                "Images of different sizes cannot share a batch; set --batch-size 1 or a --preprocess with a crop."
            )
            return LoadedBatch(error=UsageError(sentence))
        images[domain] = torch.stack(stack) if len(stack) > 1 else stack[0][None]  # one needs no copy
    unreadable = {path: message for item in items for path, message in item.unreadable.items()}
    return LoadedBatch(images, unreadable, items[-1].cache_problem)


def _leave_signals_to_the_trainer(worker: int) -> None:
    """Signals may reach a whole group of processes; the training process alone decides what follows."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def make_loader(dataset: UnpairedImages, batches: Batches) -> DataLoader[LoadedBatch]:
    """An endless loader of the batches that `batches` names, in their order."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=dataset.config.workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_leave_signals_to_the_trainer,
        generator=torch.Generator(),  # of its own: a loader draws a number when it starts, and would shift torch's
    )


SAMPLES = 2**22  # values of a domain that percentiles are found from, as many of each image
LEAST = 1024  # values of each image


def resolve_percentile_ranges(data: DataConfig, train: SplitFiles) -> tuple[DataConfig, list[str]]:
    """The settings with percentiles made numbers by the training images, and a sentence for each.

    Unreadable images are passed over. Raises `UsageError` when there is no range.
    """
    notes = []
    for domain, files in (("A", train.a), ("B", train.b)):
        name = f"range_{domain.lower()}"
        text: str | None = getattr(data, name)
        if text is None or not (wanted := parse_range(text)).percentiles:
            continue
        channels = data.channels_a if domain == "A" else data.channels_b
        found = _found(name, wanted, files[: data.max_images], channels)
        changed: dict[str, Any] = {name: str(found)}
        data = replace(data, **changed)
        notes.append(f"Range of {domain}: {found.low:g} to {found.high:g}, {wanted} of its training images.")
    return data, notes


def _found(name: str, wanted: Range, files: Sequence[Source], channels: int) -> Range:
    samples = []
    for source in files:
        try:
            values = read_stored(source, channels).reshape(-1)
        except UnreadableImage:
            continue
        step = max(1, values.size // max(LEAST, SAMPLES // len(files)))
        samples.append(values[step // 2 :: step].astype(np.float32))
    known = np.concatenate(samples) if samples else np.empty(0, np.float32)
    known = known[np.isfinite(known)]
    if not known.size:
        raise UsageError(f"None of the {len(files)} images beside {files[0]} can be read, so they have no range.")
    low, high = np.percentile(known, [wanted.low, wanted.high]).tolist()
    if not low < high:
        raise UsageError(
            f"--{name.replace('_', '-')} {str(wanted)!r} of the images is {low:g} to {high:g}, which is no range; "
            "take other shares, or state values."
        )
    return Range(low, high)
