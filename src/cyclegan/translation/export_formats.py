"""Export formats by name: this package's, and those of other packages by the entry point group ``cyclegan.exporters``.

An entry point's name is the format's name, and its value the module whose import registers it. Nothing here loads
torch, so that the command line can list the names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclegan.errors import UsageError
from cyclegan.system.plugins import load_plugin, plugin_names

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


@dataclass(frozen=True)
class Format:
    """How generators are written in one format and opened again."""

    write: "Callable[[ExportJob, Path], None]"
    reopen: "Callable[[ExportJob, Path], nn.Module]"  # what was just written, to verify it
    open: "Callable[[Path, str], ExportedGenerator] | None" = None  # to translate, on "auto" or a device's name
    suffix: str = ""  # empty for folders
    companions: tuple[str, ...] = ()  # suffixes of further files
    precisions: tuple[Precision, ...] = ("float32", "float16")
    fixed_size: bool = True  # whether it can be limited to one image size
    libraries: tuple[str, ...] = ()  # from the extra `export`
    check: "Callable[[ExportSpec], object]" = lambda spec: None  # raises `UsageError` when something is missing
    owns: Callable[[Path], bool] = Path.is_file  # whether an existing path is such an export, and can be replaced
    usage: str = "Translate with: cyclegan translate {path} INPUT -o OUT"

    def files(self, path: Path) -> list[Path]:
        """The existing files of an export, the main one last."""
        if path.is_dir():
            return sorted(path.iterdir())
        return [file for suffix in (*self.companions, path.suffix) if (file := path.with_suffix(suffix)).exists()]


_formats: dict[str, Format] = {}


def register_format(name: str, format: Format) -> None:
    """Make a format available as ``--format <name>``."""
    _formats[name] = format


def format_names() -> list[str]:
    """The names of all export formats, this package's first. Imports none of them."""
    return list(dict.fromkeys([*BUILTIN, *_formats, *plugin_names(GROUP)]))


def get_format(name: str) -> Format:
    """An export format, imported when first needed. Raises `UsageError` for an unknown name."""
    if name not in _formats and name in BUILTIN:
        import_module(BUILTIN[name])
    elif name not in _formats:
        load_plugin(GROUP, name)
    if name not in _formats:
        raise UsageError(f"Unknown export format {name!r}; choose from {', '.join(format_names())}.")
    return _formats[name]
