"""Unpaired image-to-image translation: CycleGAN, from two folders of images to a translator."""

from typing import TYPE_CHECKING, Any

from cyclegan._version import __version__

if TYPE_CHECKING:
    from cyclegan.config.schema import Config
    from cyclegan.diagnosis.diagnose import diagnose
    from cyclegan.errors import CycleGANError, UsageError
    from cyclegan.evaluation.report.report import write_report
    from cyclegan.training.setup import configure
    from cyclegan.training.trainer import resume, train
    from cyclegan.translation.translator import Translator


__all__ = [
    "Config",
    "CycleGANError",
    "Translator",
    "UsageError",
    "__version__",
    "configure",
    "diagnose",
    "resume",
    "train",
    "write_report",
]

_HOMES = {
    "Config": "config.schema",
    "configure": "training.setup",
    "CycleGANError": "errors",
    "UsageError": "errors",
    "Translator": "translation.translator",
    "diagnose": "diagnosis.diagnose",
    "resume": "training.trainer",
    "train": "training.trainer",
    "write_report": "evaluation.report.report",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import cyclegan` and the command's help do not wait for torch."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'cyclegan' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cyclegan.{_HOMES[name]}"), name)
