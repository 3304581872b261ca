"""Export formats by name: this package's, and those of other packages by the entry point group ``cyclegan.exporters``.

An entry point's name is the format's name, and its value the module whose import registers it. Nothing here loads
torch, so that the command line can list the names.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

from cyclegan.errors import CycleGANError, UsageError

if TYPE_CHECKING:
    from torch import nn

    from cyclegan.translation.export.export import ExportJob, ExportSpec
    from cyclegan.translation.exported import ExportedGenerator

Precision = Literal["float32", "float16", "int8"]

GROUP = "cyclegan.exporters"
BUILTIN = {  # name -> the module whose import registers it
    "onnx": "cyclegan.translation.export.onnx",
    "openvino": "cyclegan.translation.export.openvino",
    "torch-export": "cyclegan.translation.export.torch_export",
    "safetensors": "cyclegan.translation.export.model_folder",
    "web": "cyclegan.translation.export.web",
}


class Format(ABC):
    """How generators are written in one format and opened again, to verify the export and to translate with it."""

    suffix: ClassVar[str] = ""  # of its file; empty for formats that are folders
    companions: ClassVar[tuple[str, ...]] = ()  # suffixes of further files next to it
    precisions: ClassVar[tuple[Precision, ...]] = ("float32", "float16")
    fixed_size: ClassVar[bool] = True  # whether an export can be limited to one image size
    usage: ClassVar[str] = "Translate with: cyclegan translate {path} INPUT -o OUT"

    def check(self, spec: "ExportSpec") -> None:  # noqa: B027
        """Raise `UsageError` or `CycleGANError` when something is missing here; called before any work is done."""

    @abstractmethod
    def write(self, job: "ExportJob", path: Path) -> None:
        """Write the file or folder."""

    def open(self, path: Path, device: str) -> "ExportedGenerator":
        """Open an export to translate with, on "auto" or a device of the format's runtime. Raises `UsageError`."""
        raise UsageError(f"{path} cannot be opened; translate with the run, or with an export to onnx or openvino.")

    def reopen(self, job: "ExportJob", path: Path) -> "nn.Module":
        """What `write` has just written as a module, (N, C, H, W) in [-1, 1] to the same, to verify it."""
        return self.open(path, "cpu")

    def files(self, path: Path) -> list[Path]:
        """The existing files of an export, the main one last."""
        if path.is_dir():
            return sorted(path.iterdir())
        return [file for suffix in (*self.companions, path.suffix) if (file := path.with_suffix(suffix)).exists()]

    def owns(self, path: Path) -> bool:
        """Whether an existing path is an export in this format, which may be replaced."""
        return path.is_file()


_formats: dict[str, Format] = {}
F = TypeVar("F", bound=type[Format])


def register_format(name: str) -> Callable[[F], F]:
    """Class decorator: the class is the export format ``--format <name>``."""

    def register(cls: F) -> F:
        _formats[name] = cls()
        return cls

    return register


def format_names() -> list[str]:
    """The names of all export formats, this package's first. Imports none of them."""
    return list(dict.fromkeys([*BUILTIN, *_formats, *entry_points(group=GROUP).names]))


def get_format(name: str) -> Format:
    """An export format, imported when first needed. Raises `UsageError` for an unknown name."""
    if name not in _formats and name in BUILTIN:
        import_module(BUILTIN[name])
    for entry in entry_points(group=GROUP, name=name) if name not in _formats else ():
        try:
            entry.load()
        except Exception as error:  # other packages' code
            raise CycleGANError(
                f"The export format {name} cannot be loaded: {type(error).__name__}: {error}"
            ) from error
    if name not in _formats:
        raise UsageError(f"Unknown export format {name!r}; choose from {', '.join(format_names())}.")
    return _formats[name]
