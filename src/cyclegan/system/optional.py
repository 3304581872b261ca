"""Optional dependencies, imported on first use and without their telemetry."""

import os
import sys
from importlib import import_module
from typing import Any

from cyclegan.errors import UsageError


def optional_import(name: str, extra: str) -> Any:
    """Import a library of one of the package's extras. Raises `UsageError` when it is not installed."""
    if name.startswith("onnxruntime"):
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    if name == "openvino":  # which goes without this module
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return import_module(name)
    except ImportError:
        raise UsageError(f"This needs {name}; install it with: pip install 'cyclegan[{extra}]'.") from None
