"""Unpaired image-to-image translation: CycleGAN, from two folders of images to a translator."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclegan.config import Config
    from cyclegan.errors import CycleGANError, UsageError
    from cyclegan.evaluation.diagnosis import diagnose
    from cyclegan.evaluation.report import write_report
    from cyclegan.presets import configure
    from cyclegan.training.trainer import resume, train
    from cyclegan.translation.translator import Translator

__version__ = "0.1.0"
__all__ = [
    "Config",
    "CycleGANError",
    "Translator",
    "UsageError",
    "configure",
    "diagnose",
    "resume",
    "train",
    "write_report",
]

_HOMES = {
    "Config": "config",
    "configure": "presets",
    "CycleGANError": "errors",
    "UsageError": "errors",
    "Translator": "translation.translator",
    "diagnose": "evaluation.diagnosis",
    "resume": "training.trainer",
    "train": "training.trainer",
    "write_report": "evaluation.report",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import cyclegan` and the command's help do not wait for torch."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'cyclegan' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cyclegan.{_HOMES[name]}"), name)
