"""An image from upload to result: decoded, translated and encoded, each by the threads that are meant for it."""

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

from cyclegan.errors import CycleGANError
from cyclegan.imaging.decode import read_header, read_pixels
from cyclegan.imaging.encode import supports_channels, write_pixels
from cyclegan.imaging.image import DecodeSpec, Pixels
from cyclegan.server.metrics import Metrics
from cyclegan.server.models import ServedModel, by_device
from cyclegan.server.problems import Problem, explain
from cyclegan.server.uploads import IN_MEMORY
from cyclegan.server.workers import Cancelled, Job, Workers
from cyclegan.system.machine import cpu_count
from cyclegan.translation.files import STREAM_SUFFIXES
from cyclegan.translation.translator import Size, scaled_size

FORMATS = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "bmp": ".bmp", "npy": ".npy"}
LARGE = 4_000_000  # pixels from which on images are decoded one at a time, to bound the memory of all
UPLOADS = 4  # at once, for each place in the queue

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What a server accepts."""

    bytes: int = 32 << 20  # of a request
    pixels: int = 50_000_000  # of the images of a request, before and after scaling
    seconds: float = 60  # for the upload, and again for the rest
    queue: int = 64  # requests that wait for their turn
    images: int = 64  # of a batch


@dataclass(frozen=True)
class Wanted:
    """What a client wants: the generator, and the size and format of the result; as the image's own where None."""

    key: str  # of the generator, see `ServedModel.find`
    spec: DecodeSpec  # of the image
    channels: int  # of the result
    size: Size = "keep"
    suffix: str | None = None
    quality: int | None = None


@dataclass(frozen=True)
class Header:
    """An image before it is decoded: what its result will be."""

    size: tuple[int, int]
    suffix: str

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.size[0] * self.size[1]


class Service:
    """Translates the images of many clients with the same models, within limits of memory, time and queue.

    Few decoded images are in memory: those that the devices need next, and one large one. The others wait as they came.
    """

    def __init__(self, models: Mapping[str, ServedModel], limits: Limits, max_batch: int = 1):
        translators = by_device(models)
        self.models, self.limits, self.metrics, self.draining = models, limits, Metrics(), False
        self.workers = Workers(translators, max_batch, self.metrics.batch_size.observe)
        slots = len(translators) * (max_batch + 2)  # while a batch is translated, others are decoded and encoded
        self._slots, self._large = asyncio.Semaphore(slots), asyncio.Lock()
        self._places = {"upload": UPLOADS * (slots + limits.queue), "queue": slots + limits.queue}
        self._taken: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(max(2, cpu_count()), thread_name_prefix="images")
        self._folder = tempfile.TemporaryDirectory(prefix="cyclegan-serve-")
        self._seconds = 1.0  # that an image takes, as a moving average

    def close(self) -> None:
        """Finish what is under way."""
        self.workers.close()
        self._pool.shutdown()
        self._folder.cleanup()

    def is_full(self) -> bool:
        """Whether the queue has no place."""
        return self._taken["queue"] >= self._places["queue"]

    @contextmanager
    def place(self, kind: str) -> Iterator[None]:
        """A place for an "upload", or in the "queue". Raises `Problem` when there is none."""
        if self._taken[kind] >= self._places[kind] or self.is_full():
            after = min(60, max(1, round(self.limits.queue * self._seconds / len(self.workers.threads))))
            raise Problem(
                "too-many-requests",
                f"The server is busy and its queue of {self.limits.queue} is full; try again in {after} seconds.",
                Retry_After=str(after),
            )
        self._taken[kind] += 1
        try:
            yield
        finally:
            self._taken[kind] -= 1

    async def header(self, upload: IO[bytes], wanted: Wanted) -> Header:
        """Read the header of an image. Raises `Problem` for one that is too large or cannot be translated as wanted."""
        return await self._threaded("header", partial(_read_header, upload, wanted, self.limits.pixels))

    async def translate(self, upload: IO[bytes], header: Header, wanted: Wanted) -> IO[bytes]:
        """Translate an image to an open file. Raises `Problem`."""
        async with AsyncExitStack() as held:
            with self.metrics.waiting.track_inprogress():
                if header.pixels > LARGE:
                    await held.enter_async_context(self._large)
                await held.enter_async_context(self._slots)
            with self.metrics.running.track_inprogress():
                pixels = await self._threaded("decode", partial(_decode, upload, wanted))
                translated = await self._run(Job(wanted.key, pixels))
                encode = partial(_encode, translated, header.suffix, wanted.quality, self._folder.name)
                file = await self._threaded("encode", encode)
        self.metrics.pixels.observe(header.pixels)
        return file

    async def _run(self, job: Job) -> Pixels:
        start = time.perf_counter()
        self.workers.submit(job)
        try:
            translated = await asyncio.wrap_future(job.result)
        except CycleGANError as error:
            raise explain(error) from None
        except Cancelled:
            raise asyncio.CancelledError from None
        finally:
            job.cancelled = True
        seconds = time.perf_counter() - start
        self.metrics.stage_seconds.labels("translate").observe(seconds)
        self._seconds += 0.1 * (seconds - self._seconds)
        return translated

    async def _threaded(self, stage: str, work: Callable[[], T]) -> T:
        with self.metrics.stage_seconds.labels(stage).time():
            try:
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
            except CycleGANError as error:
                raise explain(error) from None


def _read_header(upload: IO[bytes], wanted: Wanted, max_pixels: int) -> Header:
    header = read_header(upload)
    if header.kind == "NPZ":  # a few bytes may unpack to gigabytes
        raise Problem("unreadable-image", "Compressed arrays (.npz) are not accepted; send the array as .npy.")
    size = header.size if wanted.size == "keep" else scaled_size(*header.size, shorter=wanted.size)
    for name, (width, height) in (("The image", header.size), ("The result", size)):
        if width * height > max_pixels:
            text = f"{name} of {width}x{height} pixels has more than {max_pixels:,}; reduce it, or use ?size=256."
            raise Problem("image-too-large", text)
    suffix = wanted.suffix or STREAM_SUFFIXES.get(header.kind, ".png")
    if not supports_channels(suffix, wanted.channels):
        if wanted.suffix:
            problem = f"Results of this model have {wanted.channels} channels, which {suffix[1:]} cannot hold"
            raise Problem("invalid-request", f"{problem}; use ?format=tiff or ?format=npy.")
        suffix = ".tif"
    return Header(size, suffix)


def _decode(upload: IO[bytes], wanted: Wanted) -> Pixels:
    pixels = read_pixels(upload, wanted.spec)
    if wanted.size == "keep":
        return pixels
    return pixels.resize(scaled_size(*pixels.size, shorter=wanted.size))


def _encode(pixels: Pixels, suffix: str, quality: int | None, folder: str) -> IO[bytes]:
    result = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=folder)  # noqa: SIM115  (closed by its reader)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        path = Path(own, f"result{suffix}")
        try:
            write_pixels(pixels, path, quality)
        except CycleGANError as error:
            if isinstance(cause := error.__context__, OSError) and cause.errno:  # the disk, not the image
                raise
            raise Problem("untranslatable-image", str(error).replace(str(path), "The result")) from None
        with path.open("rb") as file:
            shutil.copyfileobj(file, result)
    result.seek(0)
    return result
