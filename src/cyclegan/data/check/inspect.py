"""Statistics of one image file: its header, a hash, a thumbnail, and what can be measured on its pixels."""

import hashlib
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np
from PIL import Image

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.decode import read_header, read_preview
from cyclegan.imaging.image import COLOR, LUMA, DecodeSpec
from cyclegan.imaging.perceptual_hash import THUMB, Floats, Thumbnail
from cyclegan.imaging.source import Half, Header, Source, UnreadableImage, path_of
from cyclegan.system.machine import cpu_count

MEASURED_SIDE = 64  # pixels; bars and contrast are measured at 1x to 2x this shorter side
MIN_FILES = 64  # fewer files are inspected in this process
TOLERANCE = 12  # levels of 255 within which an area counts as uniform, because of JPEG noise
SHARP = 24  # levels of 255; min step between a bar and the image
MIN_BAR = 0.02  # of the image's width or height
MAX_PROCESSES = 61  # that Windows can wait for
GRAY = 8  # levels of 255; max difference between the channels of a gray image, because of JPEG noise
UNKNOWN = Header("", "", 0, (0, 0), several=False)


@dataclass(frozen=True)
class ImageStats:
    """Properties of one image; of unreadable images the `problem` alone. `digest` and below need its pixels."""

    source: Source
    spec: DecodeSpec = COLOR
    problem: str = ""  # one sentence; empty for readable images
    header: Header = UNKNOWN
    digest: bytes = b""  # equal for files with equal bytes
    thumb: Thumbnail | None = None  # (16, 16, 3), without bars
    bars: float = 0.0  # fraction of the area covered by uniform bars at opposite sides
    contrast: float = 0.0  # standard deviation of the luminance, in levels of 255
    gray: bool = False  # no color, however it is stored

    @property
    def path(self) -> Path:
        """The file."""
        return path_of(self.source)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, (0, 0) if unknown."""
        return self.header.size


def inspect_image(source: Source, pixels: bool = True, spec: DecodeSpec = COLOR) -> ImageStats:
    """Inspect one file; without `pixels`, only its header. Unreadable images are reported in `problem`."""
    try:
        stats = ImageStats(source, spec, header=read_header(source))
        return _measure(stats, read_preview(source, spec, min_side=MEASURED_SIDE)) if pixels else stats
    except UnreadableImage as error:
        return ImageStats(source, problem=str(error))


def inspect_images(
    sources: Sequence[Source], workers: int | None = None, specs: Sequence[DecodeSpec] | None = None
) -> Iterator[ImageStats]:
    """Inspect all files in order, by `workers` processes (None: one per CPU core; 0: this process).

    Raises `CycleGANError` when a process dies, and `UsageError` for a negative number.
    """
    workers = min(cpu_count() if workers is None else workers, MAX_PROCESSES)
    if workers < 0:
        raise UsageError(f"--workers is {workers}; it must be at least 0.")
    each_spec = specs or repeat(COLOR)
    if workers == 0 or len(sources) < MIN_FILES:
        yield from map(inspect_image, sources, repeat(True), each_spec)
        return
    # Ctrl-C reaches all processes of a terminal; the main one alone handles it.
    pool = ProcessPoolExecutor(workers, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
    try:
        yield from pool.map(inspect_image, sources, repeat(True), each_spec, chunksize=16)
    except BrokenProcessPool:
        message = "A process that inspected images died, possibly out of memory; try again with --workers 1."
        raise CycleGANError(message) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _measure(stats: ImageStats, image: Image.Image) -> ImageStats:
    values = np.asarray(image.reduce(max(1, min(image.size) // MEASURED_SIDE)))
    luminance = values @ LUMA
    left, top, right, bottom = find_bars(luminance)
    within = slice(top, len(values) - bottom), slice(left, values.shape[1] - right)
    inside = values[within]
    thumb = np.asarray(Image.fromarray(inside).resize((THUMB, THUMB), Image.Resampling.BOX))
    channels = thumb.astype(np.int16)
    digest = os.fsencode(stats.path)  # if it was deleted since it was decoded
    with suppress(OSError), stats.path.open("rb") as file:
        digest = hashlib.file_digest(file, "blake2b").digest()[:16]
        digest += stats.source.side.encode() if isinstance(stats.source, Half) else b""
    return replace(
        stats,
        digest=digest,
        thumb=thumb,
        bars=1 - inside.size / values.size,
        contrast=float(luminance[within].std()),
        gray=bool((channels.max(2) - channels.min(2)).max() <= GRAY),
    )


def find_bars(luminance: Floats) -> tuple[int, int, int, int]:
    """Widths in pixels of the bars of a letterbox, pillarbox or frame in an image (H, W): left, top, right, bottom.

    Bars are uniform, equal at opposite sides, and end at a sharp edge, unlike skies and plain backgrounds. The
    luminance is in 0 to 255; color is ignored, because JPEG blurs it across edges.
    """
    top, bottom = _find_opposite_bars(luminance)
    left, right = _find_opposite_bars(luminance[top : len(luminance) - bottom].T)
    return left, top, right, bottom


def _find_opposite_bars(rows: Floats) -> tuple[int, int]:
    """Number of rows in the bars at the top and at the bottom; (0, 0) unless there are both."""
    bars = []
    for side in (rows, rows[::-1]):
        shade = side[0].mean()
        others = np.flatnonzero(np.abs(side - shade).max(1) > TOLERANCE)
        bar = int(others[0]) if len(others) else len(side)
        # Most of one of the next three rows must differ clearly from the bar; the first may be blended.
        has_sharp_edge = ((np.abs(side[bar : bar + 3] - shade) > SHARP).mean(1) > 0.5).any()
        bars.append(bar if has_sharp_edge and bar >= max(1, MIN_BAR * len(rows)) else 0)
    is_same_shade = abs(float(rows[0].mean() - rows[-1].mean())) <= TOLERANCE
    return (bars[0], bars[1]) if all(bars) and is_same_shade and sum(bars) < len(rows) else (0, 0)
