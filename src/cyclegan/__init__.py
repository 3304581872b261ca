"""Unpaired image-to-image translation: CycleGAN, from two folders of images to a translator."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cyclegan._version import __version__ as __version__

if TYPE_CHECKING:
    from cyclegan.config.schema import Config as Config
    from cyclegan.data.check.check import check_data as check_data
    from cyclegan.diagnosis.diagnose import diagnose as diagnose
    from cyclegan.errors import CycleGANError as CycleGANError
    from cyclegan.errors import UsageError as UsageError
    from cyclegan.evaluation.compare import compare as compare
    from cyclegan.evaluation.evaluate import evaluate as evaluate
    from cyclegan.evaluation.report.report import write_report as write_report
    from cyclegan.training.monitor import Monitor as Monitor
    from cyclegan.training.setup import configure as configure
    from cyclegan.training.trainer import resume as resume
    from cyclegan.training.trainer import train as train
    from cyclegan.translation.export.export import export as export
    from cyclegan.translation.translator import Translator as Translator

_MODULES = {
    "Config": "config.schema",
    "CycleGANError": "errors",
    "Monitor": "training.monitor",
    "Translator": "translation.translator",
    "UsageError": "errors",
    "check_data": "data.check.check",
    "compare": "evaluation.compare",
    "configure": "training.setup",
    "diagnose": "diagnosis.diagnose",
    "evaluate": "evaluation.evaluate",
    "export": "translation.export.export",
    "resume": "training.trainer",
    "train": "training.trainer",
    "write_report": "evaluation.report.report",
}
__all__ = sorted([*_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    """Import on first use, so that `import cyclegan` and the command's help do not wait for torch."""
    if name not in _MODULES:
        raise AttributeError(f"module 'cyclegan' has no attribute {name!r}")
    return getattr(import_module(f"cyclegan.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
