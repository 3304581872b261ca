"""Selecting images: those a configuration trains on, and small fixed subsets for display and diagnostics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cyclegan.config.schema import Config, Direction
from cyclegan.data import layouts
from cyclegan.data.layouts import DataFiles, SplitFiles
from cyclegan.data.preprocessing import MASK
from cyclegan.errors import UsageError
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.image import DecodeSpec, resize_and_center_crop, to_tensor
from cyclegan.imaging.source import Source, UnreadableImage
from cyclegan.methods.registry import method_spec

if TYPE_CHECKING:
    from torch import Tensor

    from cyclegan.data.cache import ArrayCache
    from cyclegan.data.datasets import UnpairedImages


def find_data(config: Config) -> DataFiles:
    """The images of a configuration, in the layout of its method. Raises `UsageError`."""
    data, layout = config.data, method_spec(config.loss.method).layout
    if layout == "single domain":
        return layouts.find_single_images(data.data or data.a)
    return (layouts.find_pairs if layout == "paired" else layouts.find_domains)(data.data, data.a, data.b)


def is_paired(config: Config) -> bool:
    """Whether A and B of a batch belong together: images of pairs, or one image seen twice."""
    return method_spec(config.loss.method).layout != "unpaired"


def find_training_data(config: Config) -> DataFiles:
    """Like `find_data`; also raises `UsageError` for pairs of different sizes."""
    files = find_data(config)
    if is_paired(config):
        layouts.require_equal_sizes(files.train)
    if (pairs := find_extra_pairs(config)) is not None:
        layouts.require_equal_sizes(pairs)
    for name, companions in find_companions(config, files.train).items():
        images = files.train.a if name[-1] == "A" else files.train.b
        layouts.require_equal_sizes(SplitFiles(images, companions, paired=True))
    return files


def find_companions(config: Config, files: SplitFiles) -> dict[str, tuple[Path, ...]]:
    """The masks and label maps that training uses, as "mask_A" and so on: one for each image of that domain.

    Raises `UsageError` if neither domain has any of a kind that is asked for, or an image has none.
    """
    found: dict[str, tuple[Path, ...]] = {}
    for option, kind in (("--masks", "mask"), ("--labels", "label")):
        if getattr(config.loss, option[2:]) in ("off", False):
            continue
        of_domains = {
            f"{kind}_{domain}": layouts.companions(images, root, domain, kind)
            for images, root, domain in zip((files.a, files.b), files.roots, "AB", strict=True)
        }
        if not any(of_domains.values()):
            folder = files.roots[0] or config.data.data
            raise UsageError(f"{option} needs a folder {kind}A or {kind}B with the {kind}s, next to {folder}.")
        found |= {name: paths for name, paths in of_domains.items() if paths}
    return found


def find_masks(inputs: SplitFiles, direction: Direction) -> dict[Source, Path]:
    """The mask of each of a direction's inputs, the images of A in `inputs`; empty unless all have one."""
    with suppress(UsageError):
        masks = layouts.companions(inputs.a, inputs.roots[0], direction[0], "mask")
        return dict(zip(inputs.a, masks, strict=False))
    return {}


def find_pasted_masks(config: Config, files: DataFiles, direction: Direction) -> dict[Source, Path]:
    """With `--masks composite`, `find_masks` of a direction's test images, or of its training images without any."""
    files = files.oriented(direction)
    if config.loss.masks != "composite":
        return {}
    return find_masks(files.test if files.test.a else files.train, direction)


def notes_on_masks(config: Config, files: DataFiles, direction: Direction) -> list[str]:
    """A sentence if a run pastes inputs over a direction's translations, and its test images have no masks for that."""
    trained = config.loss.masks == "composite" and find_masks(files.oriented(direction).train, direction)
    if not trained or find_pasted_masks(config, files, direction):
        return []
    name = files.oriented(direction).names[0]
    return [f"The test images of {name} have no masks, so nothing is pasted over their translations."]


def find_extra_pairs(config: Config) -> SplitFiles | None:
    """The pairs of `--pairs`, if there are any. Raises `UsageError` if the folder has no pairs."""
    return None if config.data.pairs is None else layouts.find_pairs(config.data.pairs).train


def require_data(config: Config, run: Path, option: str) -> None:
    """Raise `UsageError` if the data of a run is no longer in its folder; `option` is what says where it is now."""
    for folder in (config.data.data, config.data.a, config.data.b, config.data.pairs):
        if folder is not None and not folder.is_dir():
            raise UsageError(
                f"The data of {run} was in {folder}, which does not exist; if it has moved, give its folder: {option}."
            )


def find_data_if_present(config: Config) -> tuple[DataFiles | None, list[str]]:
    """The data of a run, or None and a message if it no longer exists."""
    try:
        return find_data(config), []
    except (UsageError, OSError) as error:
        return None, [f"The training data has been moved or deleted, so no test images are shown: {error}"]


def make_dataset(config: Config, files: SplitFiles, cache: ArrayCache | None = None) -> UnpairedImages:
    """The training dataset of a configuration."""
    from cyclegan.data.datasets import MixedImages, PairedImages, UnpairedImages

    companions, seed = find_companions(config, files), config.run.seed
    if (pairs := find_extra_pairs(config)) is not None:
        return MixedImages(files, pairs, config.data, seed, cache, companions)
    if is_paired(config):
        return PairedImages(files, config.data, seed, cache)
    return UnpairedImages(files, config.data, seed, cache, companions)


def sample_rows(config: Config, files: DataFiles, direction: Direction) -> list[tuple[Source, ...]]:
    """Images for sample grids, from the test set if there is one; for paired methods, (input, ground truth)."""
    files = files.oriented(direction)
    if is_paired(config):
        return [*(layouts.paired_by_name(files.test) or layouts.paired_by_name(files.train))]
    return [(path,) for path in files.test.a or files.train.a]


def evenly_spaced(count: int, limit: int) -> list[int]:
    """At most `limit` of the indices 0 to count - 1, evenly spaced, including the first and the last."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, limit))}) if count else []


def load_fixed_domains(
    files: SplitFiles,
    pairs: Sequence[tuple[Source, ...]],
    count: int,
    size: int,
    specs: Sequence[DecodeSpec],
    masks: Mapping[Source, Path] | None = None,
) -> list[Tensor]:
    """Equally many images of A and B, at most `count` (N, C, size, size), as `pairs` if there are any.

    With `masks` of the images of A, those come first. The list is empty if no image of a domain is readable.
    """
    tables: list[tuple[Sequence[tuple[Source, ...]], Sequence[DecodeSpec]]] = [(pairs, specs)]
    if not pairs:
        both = zip((files.a, files.b), specs, strict=True)
        tables = [([(path,) for path in paths], [spec]) for paths, spec in both]
    if masks:
        rows, of_rows = tables[0]
        tables[0] = ([(masks[row[0]], *row) for row in rows], (MASK, *of_rows))
    columns: list[Tensor] = []
    for rows, of_rows in tables:
        strided = rows[:: max(1, len(rows) // count)]  # at least `count` rows, spare ones in case some are unreadable
        columns += load_fixed_images(strided, count, size, of_rows)
    shortest = min(map(len, columns)) if len(columns) == 2 + bool(masks) else 0
    return [column[:shortest] for column in columns] if shortest else []


def load_fixed_images(
    rows: Sequence[tuple[Source, ...]], count: int, size: int, specs: Sequence[DecodeSpec]
) -> list[Tensor]:
    """Load the first `count` readable rows, scaled and center-cropped: (N, C, size, size) for each column.

    A row is an image, or an image and its ground truth. The list is empty if no row is readable.
    """
    import torch

    loaded: list[list[Tensor]] = []
    for row in rows:
        if len(loaded) == count:
            break
        with suppress(UnreadableImage):
            images = [read_pixels(path, spec) for path, spec in zip(row, specs, strict=False)]
            loaded.append([to_tensor(resize_and_center_crop(image.values, size)) for image in images])
    return [torch.stack(column) for column in zip(*loaded, strict=True)]
