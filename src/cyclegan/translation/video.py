"""Translating videos and cameras; timing, sound and color tags are kept (extra `video`). And raw frames in pipes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.video import OUTPUT_SUFFIXES, VIDEO_SUFFIXES, find_stream, frame_to_rgb
from cyclegan.system.atomic import staged_file
from cyclegan.system.optional import optional_import
from cyclegan.system.signals import StopRequests

if TYPE_CHECKING:
    from cyclegan.translation.translator import Size, Translator

CAMERA = "camera:"
CODECS = {".webm": ("libvpx-vp9", {"crf": "24", "b": "0", "row-mt": "1"})}
DEFAULT_CODEC = ("libx264", {"crf": "16", "preset": "medium"})  # almost no visible loss
CAMERA_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
TAGS = ("color_primaries", "color_trc", "colorspace", "color_range")

VideoProgress = Callable[[int, int | None], None]  # frames done, and their total if it is known


@dataclass(frozen=True)
class VideoResult:
    """What became of a video: frames written, the signal that stopped it early (0 if none), and notes on losses."""

    frames: int
    stopped: int = 0
    notes: tuple[str, ...] = ()


def is_video(source: str | Path) -> bool:
    """Whether this is a video file or a camera."""
    return str(source).startswith(CAMERA) or Path(source).suffix.lower() in VIDEO_SUFFIXES


def translate_video(
    translator: Translator,
    source: str | Path,
    target: Path,
    *,
    size: Size = "keep",
    progress: VideoProgress = lambda done, total: None,
) -> VideoResult:
    """Translate every frame of a video file, or of a camera (``camera:/dev/video0``), into a new file.

    Times of frames are kept even if they are irregular; rotation is applied; sound is copied. After Ctrl-C or SIGTERM
    the file holds the frames so far and is playable. `progress` is called after every frame. Raises `UsageError`
    without PyAV and for formats that cannot be written, and `CycleGANError` for a source that cannot be read.
    """
    av = optional_import("av", "video")
    if target.suffix.lower() not in OUTPUT_SUFFIXES:
        raise UsageError(f"{target} is not a supported output format; use {', '.join(sorted(OUTPUT_SUFFIXES))}.")
    with (
        _explain_errors(av, source),
        staged_file(target) as temporary,
        _open(av, source) as container,
        StopRequests() as requests,
    ):
        with av.open(str(temporary), "w") as output:
            frame = container.streams.video[0]
            note = translator.scale_note(source, (frame.width, frame.height)) if size == "keep" else None
            notes = (*_losses(container), *([note] if note else []))
            transcoder = _Transcoder(av, translator, container, output, target.suffix.lower(), size)
            count = transcoder.run(requests, progress)
        if not count:
            raise CycleGANError(f"{source} has no frames that can be decoded.")
    return VideoResult(count, requests.received, notes)


def translate_camera_raw(
    translator: Translator, source: str, target: IO[bytes], width: int, height: int
) -> VideoResult:
    """Write a camera's frames, resized and translated, as 8-bit RGB to a stream until it ends or is stopped.

    Raises `UsageError` without PyAV, and `CycleGANError` for a camera that cannot be read.
    """
    av = optional_import("av", "video")
    count = 0
    with _explain_errors(av, source), _open(av, source) as container, StopRequests() as requests:
        for frame in container.decode(video=0):
            pixels = frame.to_ndarray(format="rgb24", width=width, height=height)
            _write_raw_frame(translator.translate(pixels), target)
            count += 1
            if requests.received:
                break
        return VideoResult(count, requests.received)


def translate_raw_frames(translator: Translator, source: IO[bytes], target: IO[bytes], width: int, height: int) -> int:
    """Translate frames of 8-bit RGB, row by row from the top, until the stream ends, and return their number.

    Raises `CycleGANError` when it ends within a frame.
    """
    count, length = 0, width * height * 3
    while True:
        chunk = b""  # a pipe may deliver a frame in several parts
        while len(chunk) < length and (part := source.read(length - len(chunk))):
            chunk += part
        if not chunk:
            return count
        if len(chunk) < length:
            raise CycleGANError(f"The input ends within frame {count + 1}; are its frames {width}x{height} of rgb24?")
        frame = np.frombuffer(chunk, np.uint8).reshape(height, width, 3)
        _write_raw_frame(translator.translate(frame), target)
        count += 1


def _write_raw_frame(frame: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], target: IO[bytes]) -> None:
    """Write a frame (H, W, 3) of 8-bit RGB at once."""
    target.write(np.ascontiguousarray(frame).tobytes())
    target.flush()


class _Transcoder:
    """Translates the frames of one container into another and copies the sound."""

    def __init__(self, av: Any, translator: Translator, source: Any, output: Any, suffix: str, size: Size):
        self.av, self.translator, self.source, self.output, self.size = av, translator, source, output, size
        self.frames = source.streams.video[0]
        self.frames.thread_type = "AUTO"
        self.codec, self.options = CODECS.get(suffix, DEFAULT_CODEC)
        self.encoder: Any = None  # the stream of translated frames, created with the first, whose size it needs
        self.sounds = {}
        for stream in source.streams.audio:
            try:
                self.sounds[stream.index] = output.add_stream_from_template(stream)
            except (ValueError, av.FFmpegError):
                name = stream.codec_context.name
                raise UsageError(f"{suffix} cannot hold sound in the format {name}; use .mkv, which can.") from None

    def run(self, requests: StopRequests, progress: VideoProgress) -> int:
        """Translate until the end or a request to stop, and return the number of frames."""
        count, total = 0, self.frames.frames or None
        if not total and self.source.duration and self.frames.average_rate:
            total = round(self.source.duration / self.av.time_base * self.frames.average_rate)
        pending: list[Any] = []  # sound before the first frame: nothing is written before all streams are known
        for packet in self.source.demux(self.frames, *self.source.streams.audio):
            if packet.stream.index in self.sounds:
                pending.append(packet)
            else:
                for frame in packet.decode():
                    self._write(frame)
                    count += 1
                    progress(count, total)
                    if requests.received:
                        break
            if self.encoder is not None:
                for sound in pending:
                    if sound.dts is not None:  # None marks the end of the stream
                        sound.stream = self.sounds[sound.stream.index]
                        self.output.mux(sound)
                pending.clear()
            if requests.received:
                break
        if self.encoder is not None:
            self.output.mux(self.encoder.encode())
        return count

    def _write(self, frame: Any) -> None:
        result = self.translator.translate(frame_to_rgb(frame), self.size)
        result = np.repeat(result[..., None], 3, 2) if result.ndim == 2 else np.ascontiguousarray(result[..., :3])
        if self.encoder is None:
            self.encoder = self._create_encoder(result.shape[1], result.shape[0])
        translated = self.av.VideoFrame.from_ndarray(result, format="rgb24")
        translated = translated.reformat(
            format=self.encoder.pix_fmt,
            # 0 is RGB and 2 unspecified: FFmpeg's default
            dst_colorspace=None if frame.colorspace in (0, 2) else int(frame.colorspace),
            dst_color_range=frame.color_range or None,  # else full range would be tagged, but limited written
        )
        translated.pts, translated.time_base = frame.pts, frame.time_base
        if frame.duration:
            translated.duration = frame.duration
        for tag in TAGS:
            setattr(translated, tag, getattr(frame, tag))
        self.output.mux(self.encoder.encode(translated))

    def _create_encoder(self, width: int, height: int) -> Any:
        rate = self.frames.average_rate or self.frames.base_rate or 25
        encoder = self.output.add_stream(self.codec, rate=rate, options=self.options)
        encoder.width, encoder.height = width, height
        encoder.pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"  # subsampling needs even sides
        encoder.codec_context.time_base = self.frames.time_base  # so that irregular times stay exact
        for tag in TAGS:
            setattr(encoder.codec_context, tag, getattr(self.frames.codec_context, tag))
        return encoder


def _losses(container: Any) -> Iterator[str]:
    """What the translation of a video loses, in sentences."""
    names = {"subtitle": "subtitles", "data": "data tracks", "attachment": "attachments"}
    others = sorted({stream.type for stream in container.streams if stream.type in names})
    if others:
        yield f"Its {' and '.join(names[other] for other in others)} are left out."
    form = container.streams.video[0].format
    depth = max((part.bits for part in form.components), default=8) if form is not None else 8
    if depth > 8:
        yield f"Its {depth}-bit frames are reduced to 8 bits."


@contextmanager
def _open(av: Any, source: str | Path) -> Iterator[Any]:
    """The container of a file, or of a camera by the name that the system gives it."""
    path, options = str(source), {}
    if path.startswith(CAMERA):
        path, options = path.removeprefix(CAMERA), {"format": CAMERA_FORMATS.get(sys.platform, "v4l2")}
    with av.open(path, **options) as container:
        if find_stream(container) is None:
            raise CycleGANError(f"{source} has no video stream that can be decoded.")
        yield container


@contextmanager
def _explain_errors(av: Any, source: str | Path) -> Iterator[None]:
    try:
        yield
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CycleGANError(f"{source} cannot be translated as a video: {reason}.") from None
