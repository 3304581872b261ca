"""What reading videos has in common, for preparing data and for translation (extra `video`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cyclegan.errors import UsageError
from cyclegan.imaging.image import Pixels
from cyclegan.imaging.source import UnreadableImage


def library() -> Any:
    """PyAV. Raises `UsageError` when it is not installed."""
    try:
        import av
    except ImportError:
        raise UsageError("Video needs PyAV: pip install 'cyclegan[video]'.") from None
    return av


def upright(frame: Any) -> np.ndarray[Any, Any]:
    """A frame's colors (H, W, 3) of 8 bit as players show it; its rotation is in degrees against the clock."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), int(frame.rotation) // 90))


def frames(video: Path, every: int) -> Iterator[tuple[int, float, Pixels]]:
    """Every so many-th frame, upright: its number, how far into the video it is (0 to 1), and its pixels.

    Raises `UnreadableImage` for a file that is no video, or where it is damaged, and `UsageError` without PyAV.
    """
    av = library()
    try:
        with av.open(str(video)) as container:
            if not container.streams.video:
                raise UnreadableImage(f"{video} has no pictures.")
            start, length = ((each or 0) / av.time_base for each in (container.start_time, container.duration))
            for number, frame in enumerate(container.decode(container.streams.video[0])):
                if number % every == 0:
                    share = min(1.0, ((frame.time or 0) - start) / length) if length else 0.0
                    yield number, share, Pixels(upright(frame))
    except (av.FFmpegError, ValueError) as error:
        raise UnreadableImage(f"{video} cannot be decoded: {error}.") from None
