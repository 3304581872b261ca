"""What reading videos has in common, for preparing data and for translation (extra `video`)."""

from typing import Any

import numpy as np

from cyclegan.errors import UsageError


def library() -> Any:
    """PyAV. Raises `UsageError` when it is not installed."""
    try:
        import av
    except ImportError:
        raise UsageError("Video needs PyAV: pip install 'cyclegan[video]'.") from None
    return av


def upright(frame: Any) -> np.ndarray[Any, Any]:
    """A frame's colours (H, W, 3) of 8 bit as players show it; its rotation is in degrees against the clock."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), int(frame.rotation) // 90))
