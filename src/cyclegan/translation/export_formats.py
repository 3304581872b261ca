"""Export formats by name: this package's, and those of other packages by the entry point group ``cyclegan.exporters``.

An entry point's name is the format's name, and its value the module whose import registers it.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from cyclegan.errors import UsageError
from cyclegan.networks.generator import Generator
from cyclegan.networks.layers import Dropout
from cyclegan.runs.model import Model
from cyclegan.system.plugins import Registry
from cyclegan.system.text import quote
from cyclegan.translation.exported import ExportedGenerator, ExportMetadata, Precision, quiet


class HalfPrecision(Generator):
    """A network that computes in 16-bit floats, from and to 32-bit floats."""

    def __init__(self, network: Generator):
        super().__init__()
        self.network = network.half()

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch."""
        return self.network(x.half()).float()


def prepare_for_export(generator: Generator, precision: Precision = "float32") -> Generator:
    """A copy that takes and gives float32 whatever its precision, without gradients and without noise."""
    copied = copy.deepcopy(generator).eval().requires_grad_(False)
    if precision == "float16":
        copied = copied.map_network(HalfPrecision)
    for module in copied.modules():
        if isinstance(module, Dropout):
            module.noise_seed = None  # seeded noise depends on the image size
    return copied


@dataclass(frozen=True)
class ExportJob:
    """What a format writes."""

    generator: Generator
    model: Model  # the generators of all directions
    metadata: ExportMetadata
    calibration: Sequence[Tensor]  # real images (1, C, H, W) in [-1, 1]
    web_runtime: Path | None = None  # the npm package for the format "web"
    device: str = "cpu"  # on which `reopen` runs it

    @cached_property
    def module(self) -> Generator:
        """The generator as it is exported, images (N, C, H, W) in [-1, 1] to the same."""
        return prepare_for_export(self.generator, self.metadata.precision)

    @cached_property
    def program(self) -> ExportedProgram:
        """The module as one graph: for batches and images of any size, or for one image of the fixed size."""
        multiple = self.generator.size_multiple
        fixed, channels = self.metadata.fixed_size, self.metadata.in_channels
        # Only shapes are traced, nothing is computed. Sides that are a multiple would be taken for constants.
        sizes = (1, channels, *fixed) if fixed else (2, channels, 3 * multiple + 1, 4 * multiple + 1)
        dynamic = None if fixed else ({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO},)
        with quiet("torch.onnx._internal.exporter._registration"):
            return torch.export.export(self.module, (torch.zeros(sizes),), dynamic_shapes=dynamic, strict=False)


@dataclass(frozen=True)
class Format:
    """How generators are written in one format and opened again."""

    write: Callable[[ExportJob, Path], None]
    reopen: Callable[[ExportJob, Path], nn.Module]  # what was just written, to verify it
    open: Callable[[Path, str], ExportedGenerator] | None = None  # to translate, on "auto" or a device's name
    suffix: str = ""  # empty for folders
    companions: tuple[str, ...] = ()  # suffixes of further files
    precisions: tuple[Precision, ...] = ("float32", "float16")
    fixed_size: bool = True  # whether it can be limited to one image size
    libraries: tuple[str, ...] = ()  # from the extra `export`
    check: Callable[[Path | None], object] = lambda web_runtime: None  # raises `UsageError` when something is missing
    owns: Callable[[Path], bool] = Path.is_file  # whether an existing path is such an export, and can be replaced
    usage: str = "Translate with: cyclegan translate {path} INPUT -o OUT"  # and {folder}, that of the path

    def usage_of(self, path: Path) -> str:
        """The sentence on how to use the export at `path`, quoted for a shell."""
        return self.usage.format(path=quote(path), folder=quote(path.parent))

    def files(self, path: Path) -> list[Path]:
        """The existing files of an export, the main one last."""
        if path.is_dir():
            return sorted(filter(Path.is_file, path.rglob("*")))
        return [file for suffix in (*self.companions, path.suffix) if (file := path.with_suffix(suffix)).exists()]


FORMATS: Registry[Format] = Registry(
    "format",
    "cyclegan.exporters",
    {
        **dict.fromkeys(("onnx", "openvino"), "cyclegan.translation.export.onnx"),
        **dict.fromkeys(("torch-export", "safetensors"), "cyclegan.translation.export.torch_formats"),
        "web": "cyclegan.translation.export.web",
        "space": "cyclegan.translation.export.space",
        "triton": "cyclegan.translation.export.triton",
    },
)


def register_format(name: str, format: Format) -> None:
    """Make a format available as ``--format <name>``."""
    FORMATS.values[name] = format


def infer_format(out: str | Path | None) -> str:
    """The format whose files end as `out` does; ``"onnx"`` without `out`. Raises `UsageError` if there is none."""
    if out is None:
        return "onnx"
    formats = {suffix: name for name in FORMATS.names() if (suffix := FORMATS[name].suffix)}
    if (suffix := Path(out).suffix) not in formats:
        raise UsageError(f"The format of {out} is unclear: give --format, or a name that ends in {', '.join(formats)}.")
    return formats[suffix]


def open_export(path: Path, device: str = "auto") -> ExportedGenerator:
    """Open an export in any format. Raises `UsageError` for other files, `CycleGANError` for damaged ones."""
    openers = {format.suffix: format.open for format in map(FORMATS.__getitem__, FORMATS.names()) if format.open}
    if path.suffix not in openers:
        raise UsageError(f"{path} is not an export; exports are files that end in {', '.join(openers)}.")
    return openers[path.suffix](path, device)
