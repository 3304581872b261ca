"""Video through a translator: its timing, sound and color tags stay (extra `video`)."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.video import OUTPUT_SUFFIXES, VIDEO_SUFFIXES, frame_to_rgb, import_av
from cyclegan.system.atomic import staged_file
from cyclegan.system.signals import StopRequests
from cyclegan.translation.translator import Translator

CAMERA = "camera:"
CODECS = {".webm": ("libvpx-vp9", {"crf": "24", "b": "0", "row-mt": "1"})}
CODEC = ("libx264", {"crf": "16", "preset": "medium"})  # for all others; nearly free of visible loss
CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
TAGS = ("color_primaries", "color_trc", "colorspace", "color_range")


@dataclass(frozen=True)
class VideoResult:
    """What became of a video: frames written, the signal that stopped it early (0 if none did), and what was lost."""

    frames: int
    stopped: int = 0
    notes: tuple[str, ...] = ()


def is_video(source: str | Path) -> bool:
    """Whether this names a video or a camera."""
    return str(source).startswith(CAMERA) or Path(source).suffix.lower() in VIDEO_SUFFIXES


def translate_video(
    translator: Translator,
    source: str | Path,
    target: Path,
    *,
    size: int | Literal["keep"] = "keep",
    progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> VideoResult:
    """Translate each frame of a video file, or of a camera (``camera:/dev/video0``), into a new file.

    Times of frames are kept, also where they are not even; rotation is applied; sound is copied as it is. After Ctrl-C
    or SIGTERM the frames so far are a whole, playable file. `progress` is told the frames that are done, and how many
    there are if that is known. Raises `UsageError` without PyAV and for kinds of files that cannot be written, and
    `CycleGANError` for a source that cannot be read.
    """
    av = import_av()
    if target.suffix.lower() not in OUTPUT_SUFFIXES:
        raise UsageError(f"{target} is not a supported output format; use {', '.join(sorted(OUTPUT_SUFFIXES))}.")
    with (
        staged_file(target) as temporary,
        _complaints_named(av, source),
        _opened(av, source) as given,
        StopRequests(announce=False) as requests,
    ):
        with av.open(str(temporary), "w") as made:
            notes = tuple(_losses(given))
            count = _Copy(av, translator, given, made, target.suffix.lower(), size).run(requests, progress)
        if not count:
            raise CycleGANError(f"{source} has no pictures that can be decoded.")
    return VideoResult(count, requests.received, notes)


def translate_camera_raw(translator: Translator, source: str, made: IO[bytes], width: int, height: int) -> VideoResult:
    """Write each frame of a camera, scaled to a size and translated, as 8 bit RGB, until it ends or is stopped.

    Raises `UsageError` without PyAV, and `CycleGANError` for a camera that cannot be read.
    """
    av = import_av()
    count = 0
    with _complaints_named(av, source), _opened(av, source) as given, StopRequests(announce=False) as requests:
        for frame in given.decode(video=0):
            pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
            made.write(np.ascontiguousarray(translator.translate(pixels)).tobytes())
            made.flush()
            count += 1
            if requests.received:
                break
        return VideoResult(count, requests.received)


class _Copy:
    """One video on its way from a container to another."""

    def __init__(self, av: Any, translator: Translator, given: Any, made: Any, suffix: str, size: int | str):
        self.av, self.translator, self.given, self.made, self.size = av, translator, given, made, size
        if not given.streams.video:
            raise CycleGANError(f"{given.name} has no pictures.")
        self.pictures = given.streams.video[0]
        self.pictures.thread_type = "AUTO"
        self.codec, self.options = CODECS.get(suffix, CODEC)
        self.out: Any = None  # the stream of translated pictures; its size is known with the first
        self.sounds = {stream.index: self._sound(stream, suffix) for stream in given.streams.audio}

    def _sound(self, stream: Any, suffix: str) -> Any:
        try:
            return self.made.add_stream_from_template(stream)
        except (ValueError, self.av.FFmpegError):
            name = stream.codec_context.name
            raise UsageError(f"Sound of the kind {name} does not go into {suffix}; .mkv takes all kinds.") from None

    def run(self, requests: StopRequests, progress: Callable[[int, int | None], None]) -> int:
        """Translate until the end, or until it is requested to stop; return how many frames."""
        count, total = 0, self._total()
        waiting: list[Any] = []  # sound before the first picture: all streams must be known before anything is written
        for packet in self.given.demux(self.pictures, *self.given.streams.audio):
            if packet.stream.index in self.sounds:
                waiting.append(packet)
            else:
                for frame in packet.decode():
                    self._write(frame)
                    count += 1
                    progress(count, total)
                    if requests.received:
                        break
            if self.out is not None:
                self._pass_on(waiting)
            if requests.received:
                break
        if self.out is not None:
            self.made.mux(self.out.encode())
        return count

    def _pass_on(self, packets: list[Any]) -> None:
        for packet in packets:
            if packet.dts is not None:  # else it only says that there are no more
                packet.stream = self.sounds[packet.stream.index]
                self.made.mux(packet)
        packets.clear()

    def _total(self) -> int | None:
        if self.pictures.frames:
            return int(self.pictures.frames)
        if self.given.duration and self.pictures.average_rate:
            return round(self.given.duration / self.av.time_base * self.pictures.average_rate)
        return None

    def _write(self, frame: Any) -> None:
        result = self.translator.translate(frame_to_rgb(frame), self.size)  # type: ignore[arg-type]
        result = np.repeat(result[..., None], 3, 2) if result.ndim == 2 else np.ascontiguousarray(result[..., :3])
        if self.out is None:
            self.out = self._stream(result.shape[1], result.shape[0])
        drawn = self.av.VideoFrame.from_ndarray(result, format="rgb24")
        drawn = drawn.reformat(
            format=self.out.pix_fmt,
            dst_colorspace=_for_matrix(frame.colorspace),
            dst_color_range=frame.color_range or None,  # else full range would be tagged, and limited written
        )
        drawn.pts, drawn.time_base = frame.pts, frame.time_base
        if frame.duration:
            drawn.duration = frame.duration
        for tag in TAGS:
            setattr(drawn, tag, getattr(frame, tag))
        self.made.mux(self.out.encode(drawn))

    def _stream(self, width: int, height: int) -> Any:
        rate = self.pictures.average_rate or self.pictures.base_rate or 25
        out = self.made.add_stream(self.codec, rate=rate, options=self.options)
        out.width, out.height = width, height
        out.pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"  # half the colors need even sides
        out.codec_context.time_base = self.pictures.time_base  # so that uneven times stay as they are
        for tag in TAGS:
            setattr(out.codec_context, tag, getattr(self.pictures.codec_context, tag))
        return out


def _losses(given: Any) -> Iterator[str]:
    """What of a video does not come through, in sentences."""
    others = sorted({stream.type for stream in given.streams if stream.type in ("subtitle", "data", "attachment")})
    if others:
        names = {"subtitle": "subtitles", "data": "data tracks", "attachment": "attachments"}
        yield f"Its {' and '.join(names[other] for other in others)} are left out."
    form = given.streams.video[0].format if given.streams.video else None
    depth = max((part.bits for part in form.components), default=8) if form is not None else 8
    if depth > 8:
        yield f"Its pictures of {depth} bits become pictures of 8."


def _for_matrix(colorspace: int) -> int | None:
    """The matrix from RGB that a video's tag asks for; of 2, "unspecified", and RGB itself, the usual one."""
    return None if colorspace in (0, 2) else int(colorspace)


@contextmanager
def _opened(av: Any, source: str | Path) -> Iterator[Any]:
    """The container of a file, or of a camera by its system's name."""
    if str(source).startswith(CAMERA):
        device = str(source).removeprefix(CAMERA)
        with av.open(device, format=CAMERA_FORMATS.get(sys.platform, "v4l2")) as container:
            yield container
    else:
        with av.open(str(source)) as container:
            yield container


@contextmanager
def _complaints_named(av: Any, source: str | Path) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CycleGANError(f"{source} cannot be translated as a video: {reason}.") from None
