"""Reading videos with PyAV (extra `video`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cyclegan.imaging.image import Pixels
from cyclegan.imaging.source import UnreadableImage
from cyclegan.system.optional import optional_import

OUTPUT_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"})
VIDEO_SUFFIXES = OUTPUT_SUFFIXES | {".mpg", ".mpeg", ".wmv", ".ts"}


def frame_to_rgb(frame: Any) -> np.ndarray[Any, Any]:
    """A frame's pixels, (H, W, 3) of uint8, with the video's rotation applied."""
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), int(frame.rotation) // 90))


def find_stream(container: Any) -> Any:
    """The first video stream of a file; None without one, or if its codec is unknown."""
    streams = container.streams.video
    return streams[0] if streams and streams[0].codec_context is not None else None


def read_frames(video: Path, every: int) -> Iterator[tuple[int, float, Pixels]]:
    """Every `every`-th frame: its number, its position in the video (0 to 1), and its pixels.

    Raises `UnreadableImage` for a file that is damaged or not a video, and `UsageError` without PyAV.
    """
    av = optional_import("av", "video")
    try:
        with av.open(str(video)) as container:
            stream = find_stream(container)
            if stream is None:
                raise UnreadableImage(f"{video} has no video stream.")
            start, length = ((each or 0) / av.time_base for each in (container.start_time, container.duration))
            for number, frame in enumerate(container.decode(stream)):
                if number % every == 0:
                    position = min(1.0, ((frame.time or 0) - start) / length) if length else 0.0
                    yield number, position, Pixels(frame_to_rgb(frame))
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableImage(f"{video} cannot be decoded as a video: {reason}.") from None
