"""One look at a file: its header, a hash, a small picture of it, and what can be seen on that."""

import hashlib
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.imaging.decode import read_header, read_preview
from cyclegan.imaging.image import COLOR, LUMA, DecodeSpec
from cyclegan.imaging.perceptual_hash import THUMB, Floats, Pixels
from cyclegan.imaging.source import Half, Header, Source, UnreadableImage
from cyclegan.system.machine import cpu_count

LOOKED_AT = 64  # pixels; the shorter side of what bars and contrast are measured on is this to twice this
ALONE = 64  # fewer files are looked at in this process
TOLERANCE = 12  # levels of 255 within which a surface counts as uniform, JPEG's noise in mind
SHARP = 24  # levels by which a picture begins at the edge of a bar
THINNEST_BAR = 0.02  # of the picture's width or height
GRAY = 8  # levels that the channels of a picture without color may differ by, JPEG's noise in mind


@dataclass(frozen=True)
class Look:
    """What is known of one image. Without `header` it cannot be read; what stands below `header` is of the pixels."""

    source: Source
    reading: DecodeSpec = COLOR
    problem: str = ""  # one sentence; empty when the image is good
    header: Header | None = None
    digest: bytes = b""  # equal for files of equal bytes
    thumb: Pixels | None = None  # (16, 16, 3), of what is inside the bars
    bars: float = 0.0  # share of the picture that uniform bars at opposite sides take
    contrast: float = 0.0  # standard deviation of the luminance, in levels of 255
    gray: bool = False  # no color, however it is stored

    @property
    def path(self) -> Path:
        """The file."""
        return self.source.path if isinstance(self.source, Half) else self.source

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, (0, 0) if they are not known."""
        return self.header.size if self.header is not None else (0, 0)


def look(source: Source, pixels: bool = True, reading: DecodeSpec = COLOR) -> Look:
    """Look at one file, at the header alone unless `pixels`. It raises nothing about what files hold."""
    try:
        seen = Look(source, reading, header=read_header(source))
        return _seen(seen, read_preview(source, reading, min_side=LOOKED_AT)) if pixels else seen
    except UnreadableImage as error:
        return Look(source, problem=str(error))


def look_at(
    sources: Sequence[Source], workers: int | None = None, readings: Sequence[DecodeSpec] | None = None
) -> Iterator[Look]:
    """Looks at all files in their order, each by its reading, by so many processes (None: all processors; 0: this one).

    Raises `CycleGANError` when a process dies, and `UsageError` for less than no process.
    """
    workers = cpu_count() if workers is None else workers
    if workers < 0:
        raise UsageError(f"--workers is {workers}; it must be at least 0.")
    ways = readings if readings is not None else repeat(COLOR)
    if workers == 0 or len(sources) < ALONE:
        yield from map(look, sources, repeat(True), ways)
        return
    pool = ProcessPoolExecutor(workers, initializer=_leave_signals_to_the_first)
    try:
        yield from pool.map(look, sources, repeat(True), ways, chunksize=16)
    except BrokenProcessPool:
        raise CycleGANError(
            "A process that looked at images died, perhaps for want of memory; try --workers 1."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _leave_signals_to_the_first() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _seen(known: Look, image: Image.Image) -> Look:
    values = np.asarray(image.reduce(max(1, min(image.size) // LOOKED_AT)))
    luminance = values @ LUMA
    bars = find_bars(luminance)
    within = slice(bars.top, len(values) - bars.bottom), slice(bars.left, values.shape[1] - bars.right)
    inside = values[within]
    thumb = np.asarray(Image.fromarray(inside).resize((THUMB, THUMB), Image.Resampling.BOX))
    channels = thumb.astype(np.int16)
    return replace(
        known,
        digest=_digest(known.source),
        thumb=thumb,
        bars=1 - inside.size / values.size,
        contrast=float(luminance[within].std()),
        gray=bool((channels.max(2) - channels.min(2)).max() <= GRAY),
    )


def _digest(source: Source) -> bytes:
    path, side = (source.path, source.side) if isinstance(source, Half) else (source, "")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()[:16] + side.encode()
    except OSError:  # it could be read a moment ago; the file is gone
        return os.fsencode(path)


class Bars(NamedTuple):
    """Rows and columns of pixels that belong to bars."""

    left: int
    top: int
    right: int
    bottom: int


def find_bars(luminance: Floats) -> Bars:
    """The bars of a letterbox, a pillarbox or a frame in a picture (H, W), 0 to 255.

    They are uniform, alike at opposite sides, and the picture begins sharply beside them: neither skies nor the plain
    ground of a photographed thing are taken for bars. Colors are left aside, since JPEG smears them over edges.
    """
    top, bottom = _opposite(luminance)
    left, right = _opposite(luminance[top : len(luminance) - bottom].T)
    return Bars(left, top, right, bottom)


def _opposite(rows: Floats) -> tuple[int, int]:
    """How many rows at the beginning and at the end are bars; (0, 0) if not at both."""
    first, last = _uniform(rows), _uniform(rows[::-1])
    alike = abs(float(rows[0].mean() - rows[-1].mean())) <= TOLERANCE
    thick = min(first, last) >= max(1, THINNEST_BAR * len(rows)) and first + last < len(rows)
    if thick and alike and _sharp(rows, first) and _sharp(rows[::-1], last):
        return first, last
    return 0, 0


def _uniform(rows: Floats) -> int:
    """How many rows at the beginning have one shade, the same in all."""
    other = np.flatnonzero(np.abs(rows - rows[0].mean()).max(1) > TOLERANCE)
    return int(other[0]) if len(other) else len(rows)


def _sharp(rows: Floats, bar: int) -> bool:
    """Whether most of one of the next rows differs clearly from the bar; the first may be a mixture."""
    beyond = np.abs(rows[bar : bar + 3] - rows[0].mean()) > SHARP
    return bool((beyond.mean(1) > 0.5).any())
