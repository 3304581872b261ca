"""Training data: random pairs, crops and flips, each a function of seed, epoch and position alone.

Datasets have no state, so a resumed run sees the same batches as an uninterrupted one, for any number of workers.
"""

import random
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from cyclegan.config.schema import DataConfig
from cyclegan.data.cache import Array, ArrayCache
from cyclegan.data.layouts import SplitFiles
from cyclegan.data.preprocessing import COMPANIONS, cache_key, decode_specs, jitter_color, load_resized, random_crop
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.image import DecodeSpec, to_tensor
from cyclegan.imaging.source import Source, UnreadableImage, path_of
from cyclegan.system.machine import cpu_count
from cyclegan.system.signals import SIGNALS


@dataclass(frozen=True)
class LoadedBatch:
    """An item of a dataset or a batch of a loader, and the problems of loading it.

    Problems are data, because PyTorch turns an exception in a loader process into a traceback.
    """

    images: dict[str, Tensor] = field(default_factory=dict)  # as in `methods.method.Batch`; of an item without N
    unreadable: dict[str, str] = field(default_factory=dict)  # path -> error message; replaced by other images
    cache_problem: str | None = None  # why decoded images are no longer cached
    error: CycleGANError | None = None  # why there are no images

    def pin_memory(self) -> "LoadedBatch":
        """The same batch in page-locked memory. `DataLoader` calls this."""
        return replace(self, images={domain: images.pin_memory() for domain, images in self.images.items()})


class ItemIndex(NamedTuple):
    """An item of the data: the epoch (from 0), the position within it, and the indices of its images in A and B."""

    epoch: int
    position: int
    a: int
    b: int


# By name in an item, such as "mask_A": a file for each image of that domain, of a kind in `COMPANIONS`.
Companions = Mapping[str, Sequence[Source]]


class UnpairedImages(Dataset[LoadedBatch]):
    """Items with an image of each domain.

    An unreadable image is replaced by the next readable one of its domain; with ``config.strict`` it is the item's
    error. Decoded images are kept in `cache`. An item also has the
    `companions` of its images.
    """

    crop_seeds: ClassVar = {"A": "A", "B": "B"}

    def __init__(
        self,
        files: SplitFiles,
        config: DataConfig,
        seed: int,
        cache: ArrayCache | None = None,
        companions: Companions | None = None,
    ):
        self.a, self.b = files.a[: config.max_images], files.b[: config.max_images]
        specs = decode_specs(config)
        self.names: list[list[str]] = []  # of A and of B: those of a row's files in an item
        self.columns: list[list[DecodeSpec]] = []
        self.rows: list[list[tuple[Source, ...]]] = []
        for domain, images, spec in zip("AB", (self.a, self.b), specs, strict=True):
            own = {name: files for name, files in (companions or {}).items() if name[-1] == domain}
            self.names.append([domain, *own])
            self.columns.append([spec, *(COMPANIONS[name.split("_")[0]] for name in own)])
            self.rows.append([*zip(images, *(files[: len(images)] for files in own.values()), strict=True)])
        self.config = config
        self.specs = specs
        self.seed = seed
        self.cache = cache

    def __len__(self) -> int:
        """Items per epoch: the size of the larger domain [R]."""
        return max(len(self.a), len(self.b))

    def item_index(self, epoch: int, position: int) -> ItemIndex:
        """The images of an item: A in shuffled order, B drawn uniformly [R]; in file order with `serial_batches`."""
        if self.config.serial_batches:
            return ItemIndex(epoch, position, position % len(self.a), position % len(self.b))
        a = _shuffled(len(self), self.seed, epoch)[position] % len(self.a)
        b = random.Random(f"B {self.seed} {epoch} {position}").randrange(len(self.b))
        return ItemIndex(epoch, position, int(a), b)

    def __getitem__(self, key: tuple[int, int]) -> LoadedBatch:
        """The item at (epoch, position)."""
        index, unreadable = self.item_index(*key), dict[str, str]()
        try:
            values = self._load_item(index, unreadable)
        except CycleGANError as error:
            return LoadedBatch(error=error)
        images = {}
        for name, each in values.items():  # a mask is cropped and flipped like its image
            rng = random.Random(f"{self.crop_seeds[name[-1]]} {self.seed} {index.epoch} {index.position}")
            images[name] = to_tensor(random_crop(each, self.config, rng, labels=name.startswith("label")))
        for domain, amount in zip("AB", (self.config.color_jitter_a, self.config.color_jitter_b), strict=True):
            rng = random.Random(f"color {domain} {self.seed} {index.epoch} {index.position}")
            images[domain] = jitter_color(images[domain], amount, rng)
        problem = self.cache.problem if self.cache is not None else None
        message = problem and f"The cache of decoded images {problem}; the other images are decoded every time."
        return LoadedBatch(images, unreadable, message)

    def _load_item(self, index: ItemIndex, unreadable: dict[str, str]) -> dict[str, Array]:
        """The images of A and B and what else is in their rows. Raises `CycleGANError`."""
        values: dict[str, Array] = {}
        for names, rows, number, specs in zip(self.names, self.rows, (index.a, index.b), self.columns, strict=True):
            values |= zip(names, self._load_readable(rows, number, specs, unreadable), strict=True)
        return values

    def _load_readable(
        self, rows: Sequence[tuple[Source, ...]], first: int, specs: Sequence[DecodeSpec], unreadable: dict[str, str]
    ) -> list[Array]:
        """Load the files of row `first`, or of the next row that is readable; each file by its spec."""
        first_error = ""
        for number in range(first, first + len(rows)):
            row = rows[number % len(rows)]
            try:
                return [self.load(source, spec) for source, spec in zip(row, specs, strict=False)]
            except UnreadableImage as error:
                if self.config.strict:
                    raise
                first_error = first_error or str(error)
                unreadable[str(row[0])] = str(error)
        folder = path_of(rows[first][0]).parent
        raise UsageError(f"None of the {len(rows)} images in {folder} can be read. The first: {first_error}")

    def load(self, source: Source, spec: DecodeSpec) -> Array:
        """An image at training size, (H, W, C), from the cache if possible. Raises `UnreadableImage`."""
        if self.cache is not None:
            with suppress(OSError):  # the file is missing: loading raises the error
                key = cache_key(source, spec, self.config)
                return self.cache.array(key, lambda: load_resized(source, spec, self.config))
        return load_resized(source, spec, self.config)

    def images(self) -> list[tuple[Source, DecodeSpec]]:
        """All files, each with its spec."""
        found = [
            image
            for rows, specs in zip(self.rows, self.columns, strict=True)
            for row in rows
            for image in zip(row, specs, strict=True)
        ]
        return list(dict.fromkeys(found))

    def preload(self, start: float, progress: Callable[[int, int], None]) -> str:
        """Decode all images into the cache, on all CPU cores, and return a message about their size.

        Each process starts at its own fraction `start` of the images, 0 to 1, and finds those of the others in the
        cache. Calls `progress(decoded, total)`. Stops when the cache is full. Raises `UnreadableImage` with
        ``config.strict``.
        """
        images = self.images()
        first = round(start * len(images))
        sizes: list[int] = []
        pool = ThreadPoolExecutor(cpu_count())  # decoding and resizing release the GIL

        def load_size(image: tuple[Source, DecodeSpec]) -> int:
            try:
                return self.load(*image).nbytes
            except UnreadableImage:
                if self.config.strict:
                    raise
                return 0

        try:
            for size in pool.map(load_size, [*images[first:], *images[:first]]):
                sizes.append(size)
                progress(len(sizes), len(images))
                if self.cache is None or self.cache.problem:
                    break
        finally:
            pool.shutdown(cancel_futures=True)
        decoded, where = sum(size > 0 for size in sizes), "on disk" if self.config.cache == "disk" else "in memory"
        return f"Preloaded {decoded:,} of {len(images):,} images, {sum(sizes) / 2**30:.2g} GiB {where}."


class PairedImages(UnpairedImages):
    """Like `UnpairedImages`, but A and B belong together, and get the same crop and flip.

    If one image of a pair is unreadable, the pair is replaced by the next one.
    """

    crop_seeds: ClassVar = {"A": "AB", "B": "AB"}

    def __init__(self, files: SplitFiles, config: DataConfig, seed: int, cache: ArrayCache | None = None):
        super().__init__(files, config, seed, cache)
        # An image that is its own partner is read once.
        self.pairs = [(a, b) if a != b else (a,) for a, b in zip(self.a, self.b, strict=True)]

    def item_index(self, epoch: int, position: int) -> ItemIndex:
        """A pair: in shuffled order [R], in file order with `serial_batches`."""
        number = position if self.config.serial_batches else int(_shuffled(len(self), self.seed, epoch)[position])
        return ItemIndex(epoch, position, number, number)

    def _load_item(self, index: ItemIndex, unreadable: dict[str, str]) -> dict[str, Array]:
        pair = self._load_readable(self.pairs, index.a, self.specs, unreadable)
        return {"A": pair[0], "B": pair[-1]}


class MixedImages(UnpairedImages):
    """Like `UnpairedImages`; each item also has a pair, "pairs_A" and "pairs_B".

    The pairs come in shuffled order, again and again, whatever the number of images.
    """

    def __init__(
        self,
        files: SplitFiles,
        pairs: SplitFiles,
        config: DataConfig,
        seed: int,
        cache: ArrayCache | None = None,
        companions: Companions | None = None,
    ):
        super().__init__(files, config, seed, cache, companions)
        self.pairs = PairedImages(pairs, replace(config, max_images=None), seed, cache)

    def __getitem__(self, key: tuple[int, int]) -> LoadedBatch:
        """The item at (epoch, position)."""
        epoch, position = key
        item, pair = super().__getitem__(key), self.pairs[divmod(epoch * len(self) + position, len(self.pairs))]
        images = item.images | {f"pairs_{domain}": image for domain, image in pair.images.items()}
        return replace(
            item, images=images, unreadable=item.unreadable | pair.unreadable, error=item.error or pair.error
        )

    def images(self) -> list[tuple[Source, DecodeSpec]]:
        """All files, each with its spec."""
        return list(dict.fromkeys([*super().images(), *self.pairs.images()]))


@lru_cache(maxsize=4)
def _shuffled(count: int, seed: int, epoch: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng([seed, epoch]).permutation(count)


class Batches(Sampler[list[tuple[int, int]]]):
    """The (epoch, position) keys of one process's batches, from batch number `first` on, without end.

    An epoch has ``ceil(items / (batch_size x processes))`` batches; the last is filled up from the epoch's beginning.
    N processes with batch size B see together the same batches as one process with batch size N x B.
    """

    def __init__(self, items: int, batch_size: int, *, first: int = 0, process: int = 0, processes: int = 1):
        self.items, self.batch_size, self.first = items, batch_size, first
        self.process, self.processes = process, processes
        self.per_epoch = -(-items // (batch_size * processes))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Batches of keys of `UnpairedImages`."""
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
    stacks = {name: [item.images[name] for item in items] for name in items[0].images}
    if any(len({image.shape for image in stack}) > 1 for stack in stacks.values()):
        message = "Images of different sizes cannot share a batch; use --batch-size 1 or a --preprocess that crops."
        return LoadedBatch(error=UsageError(message))
    # A single image is not copied.
    images = {domain: torch.stack(each) if len(each) > 1 else each[0][None] for domain, each in stacks.items()}
    unreadable = {path: message for item in items for path, message in item.unreadable.items()}
    return LoadedBatch(images, unreadable, items[-1].cache_problem)


def _ignore_signals(worker: int) -> None:
    """Signals reach all processes of a group; the training process alone handles them."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def make_loader(dataset: UnpairedImages, batches: Batches) -> DataLoader[LoadedBatch]:
    """An endless loader of the given batches, in order."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=dataset.config.workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_ignore_signals,
        generator=torch.Generator(),  # its own, because a loader draws a seed, which would advance torch's generator
    )
