"""The range of a set of images, found from shares of their values."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cyclegan.config import DataConfig
from cyclegan.data.folders import Domain
from cyclegan.data.images import Source, UnreadableImage, read_stored
from cyclegan.errors import UsageError
from cyclegan.pixel_words import Range, parse_range

SAMPLES = 2**22  # values of a domain that percentiles are found from, as many of each image
LEAST = 1024  # values of each image


def with_found_ranges(data: DataConfig, train: Domain) -> tuple[DataConfig, list[str]]:
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
