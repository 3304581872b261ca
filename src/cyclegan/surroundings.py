"""What the `auto` preset looks at: the sizes of the images, the device, and its memory."""

import statistics
from typing import Any

from cyclegan.config import Config
from cyclegan.data.images import UnreadableImage, check_header
from cyclegan.errors import UsageError
from cyclegan.presets import Surroundings, automatic
from cyclegan.training.data import find_data

LOOKED_AT = 200  # images of each domain; reading a header takes less than a millisecond


def look_around(config: Config) -> tuple[dict[str, Any], str]:
    """The settings that suit the configured data and device, and a sentence that says what and why.

    Raises `UsageError` when there is no data to look at, or none of it can be read.
    """
    domains = find_data(config)
    sides = []
    for files in (domains.train.a, domains.train.b):
        for path in files[:: max(1, len(files) // LOOKED_AT)]:
            try:
                sides.append(min(check_header(path)))
            except UnreadableImage:
                continue
    if not sides:
        raise UsageError(f"None of the images beside {domains.train.a[0]} can be read.")
    around = Surroundings(round(statistics.median(sides)), gpu_memory(config.run.accelerator))
    return automatic(around, config.loss.method)


def gpu_memory(accelerator: str) -> float | None:
    """Memory in GiB of the GPU that training will use, or None when it will use the CPU."""
    import torch

    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return float(torch.cuda.get_device_properties(0).total_memory) / 2**30
    if accelerator in ("auto", "mps", "gpu") and torch.backends.mps.is_available():
        return torch.mps.recommended_max_memory() / 2**30
    return None
