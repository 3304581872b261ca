"""Frames of a video as images (extra `video`)."""

from collections.abc import Iterator
from pathlib import Path

from cyclegan.data.pixels import Pixels
from cyclegan.data.sources import UnreadableImage
from cyclegan.data.video import library, upright


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
