"""Exported generators: what their files say about themselves, and how they are opened and run.

All take images (N, C, H, W) in [-1, 1] as the input ``images`` and give ``translated``, of the same size.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from cyclegan.config.schema import Direction
from cyclegan.errors import CycleGANError, UsageError, first_line
from cyclegan.networks.generator import Generator

VERSION = "cyclegan-export-1"
INPUT, OUTPUT = "images", "translated"
KEY = "cyclegan"  # under which OpenVINO and torch.export store the metadata

Precision = Literal["float32", "float16", "int8"]
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ExportMetadata:
    """What an export says about itself; stored in its file as strings, which every viewer shows."""

    direction: Direction
    in_channels: int
    out_channels: int
    method: str
    precision: Precision
    source: str  # how the weights were made
    domain_in: str
    domain_out: str
    trained_size: int  # pixels of the square training crops
    fixed_size: tuple[int, int] | None = None  # height and width; None for any
    range_in: str = ""  # stored values mapped to black and white, "LOW HIGH"; the range of the files' type if empty
    range_out: str = ""
    background: str = "white"  # color behind transparent parts of the input
    trained_scale: int = 0  # side to which whole training images were resized, pixels; 0 if they kept their own

    def to_strings(self) -> dict[str, str]:
        """The fields, with the version and conventions of exports, as strings."""
        size = "any" if self.fixed_size is None else "{}x{}".format(*self.fixed_size)
        constants = {"format": VERSION, "value_range": "-1 to 1", "layout": "NCHW"}
        return constants | {k: str(v) for k, v in (asdict(self) | {"fixed_size": size}).items()}

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], path: Path) -> "ExportMetadata":
        """The inverse of `to_strings`. Raises `UsageError` when another program wrote the file `path`."""
        try:
            if strings["format"] != VERSION:
                raise ValueError
            values: dict[str, Any] = {field.name: strings[field.name] for field in fields(cls)}
            values |= {n: int(values[n]) for n in ("in_channels", "out_channels", "trained_size", "trained_scale")}
            size = values["fixed_size"]
            return cls(**values | {"fixed_size": None if size == "any" else tuple(map(int, size.split("x")))})
        except (KeyError, ValueError):
            raise UsageError(f"{path} was not written by `cyclegan export`; export a run with that.") from None


class ExportedGenerator(Generator):
    """An export as a generator, (N, C, H, W) in [-1, 1] to images; `run` runs it on arrays in its own runtime."""

    def __init__(self, run: Callable[[Array], Array], metadata: ExportMetadata):
        super().__init__()
        self.run, self.metadata = run, metadata

    def forward(self, images: Tensor) -> Tensor:
        """Translate a batch. Raises `UsageError` for another size than the export's fixed one.

        Raises `CycleGANError` for a damaged export, which cannot be run or gives no images of the input's size.
        """
        fixed = self.metadata.fixed_size
        if fixed is not None and tuple(images.shape[2:]) != fixed:
            height, width = fixed
            raise UsageError(f"This export takes images of {width}x{height} pixels; export again without --fixed-size.")
        batches = torch.split(images, 1) if fixed is not None else (images,)
        try:
            result = torch.cat([torch.from_numpy(self.run(batch.cpu().numpy())) for batch in batches]).to(images)
        except Exception as error:  # the runtimes' errors have no common base class
            advice = "export the run again, or close other programs if memory is short"
            raise CycleGANError(f"The export cannot be run ({first_line(error)}); {advice}.") from None
        if result.shape != (len(images), self.metadata.out_channels, *images.shape[2:]):
            raise CycleGANError(f"The export gives images of shape {tuple(result.shape[1:])}; export the run again.")
        return result


def damaged_export(path: Path, error: Exception) -> CycleGANError:
    """The error to raise when a runtime cannot open a file."""
    return CycleGANError(f"{path} cannot be opened: {(str(error).strip() or type(error).__name__).splitlines()[-1]}")


@contextmanager
def quiet(logger_name: str | None) -> Iterator[None]:
    """Suppress Python's warnings, and a logger's messages below errors."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
