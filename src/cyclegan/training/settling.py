"""What only the data can tell of a configuration, decided once when a training begins and kept in its file."""

from collections.abc import Sequence

import numpy as np

from cyclegan.config import Config
from cyclegan.data.datasets import readings
from cyclegan.data.folders import Domains
from cyclegan.data.images import Source, UnreadableImage, read_stored
from cyclegan.errors import UsageError
from cyclegan.methods import METHODS
from cyclegan.pixel_words import Range, parse_range

SAMPLES = 2**22  # values of a domain that percentiles are found from, as many of each image
LEAST = 1024  # values of each image


def settled(config: Config, domains: Domains) -> tuple[Config, list[str]]:
    """The configuration with ranges in numbers, and without an identity loss that cannot be; a sentence for each.

    Raises `UsageError` when the images of a domain have no range.
    """
    notes = []
    data, changed = config.data, {}
    for domain, text, files in (("A", data.range_a, domains.train.a), ("B", data.range_b, domains.train.b)):
        if text is not None and (wanted := parse_range(text)).percentiles:
            found = _found(domain, wanted, files[: data.max_images], readings(data)[domain].channels)
            changed[f"range_{domain.lower()}"] = str(found)
            notes.append(f"Range of {domain}: {found.low:g} to {found.high:g}, {text} of its training images.")
    if _cannot_be_identical(config):
        changed["lambda_identity"] = 0.0
        notes.append(
            f"A has {data.channels_a} channels and B {data.channels_b}, so there is no identity loss: "
            "a generator cannot be given images of its own result's kind."
        )
    return config.with_settings(**changed), notes


def _found(domain: str, wanted: Range, files: Sequence[Source], channels: int) -> Range:
    """The percentiles of a domain's images; unreadable ones are passed over, and told in training."""
    samples = []
    for source in files:
        try:
            values = read_stored(source, channels).reshape(-1)
        except UnreadableImage:
            continue
        step = max(1, values.size // max(LEAST, SAMPLES // len(files)))
        samples.append(values[step // 2 :: step].astype(np.float32))
    if not samples:
        raise UsageError(f"None of the {len(files)} images beside {files[0]} can be read, so there is no range of it.")
    together = np.concatenate(samples)
    low, high = np.percentile(together[np.isfinite(together)], [wanted.low, wanted.high]).tolist()
    if not low < high:
        raise UsageError(
            f"--range-{domain.lower()} {str(wanted)!r} of the images is {low:g} to {high:g}, which is no range; "
            "take other shares, or state values."
        )
    return Range(low, high)


def _cannot_be_identical(config: Config) -> bool:
    """Whether an identity loss is wanted of a method that has one, between images of unlike channels."""
    both_ways = len(METHODS[config.loss.method].directions) == 2 and not METHODS[config.loss.method].paired
    return both_ways and config.loss.lambda_identity > 0 and config.data.channels_a != config.data.channels_b
