"""One thread per device that runs generators, several images of equal size at once where that is faster."""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from cyclegan.imaging.image import Pixels
from cyclegan.translation.translator import Translator

BATCH_WAIT = 0.005  # seconds that an image waits for others of its size, when nothing else is to be done


class Cancelled(Exception):
    """Nobody waits for any image of the batch."""


@dataclass(eq=False)
class Job:
    """An image for the generator `key`; `cancelled` is set when nobody waits for it any more."""

    key: str
    pixels: Pixels
    result: Future[Pixels] = field(default_factory=Future)
    cancelled: bool = False

    def batch_key(self) -> Hashable:
        """Equal for images that fit into one batch."""
        pixels = self.pixels
        return self.key, pixels.values.shape, pixels.values.dtype, pixels.dtype, pixels.value_range


class Workers:
    """Translates jobs in the order in which they come; `translators` has a mapping by key for each device.

    Batches have at most `max_batch` images; `on_batch` is called with the size of each.
    """

    def __init__(
        self,
        translators: Sequence[Mapping[str, Translator]],
        max_batch: int = 1,
        on_batch: Callable[[int], object] = lambda size: None,
    ):
        self.max_batch, self.on_batch, self.closed = max_batch, on_batch, False
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self.threads = [
            threading.Thread(target=self._work, args=(each,), name=f"device-{number}", daemon=True)
            for number, each in enumerate(translators)
        ]
        for thread in self.threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """Add a job to the queue."""
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()

    def waiting(self) -> int:
        """Number of jobs that no device has taken."""
        return len(self._jobs)

    def alive(self) -> bool:
        """Whether every device works."""
        return not self.closed and all(thread.is_alive() for thread in self.threads)

    def close(self) -> None:
        """Finish all jobs and end the threads."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
        for thread in self.threads:
            thread.join()

    def _next_batch(self) -> list[Job]:
        """Wait for a job, and for others that fit into a batch with it; empty at the end."""
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._jobs or self.closed)
                if not self._jobs:
                    return []
                key = self._jobs[0].batch_key()
                if self.max_batch > 1:
                    self._changed.wait_for(lambda key=key: self._is_complete(key), BATCH_WAIT)  # type: ignore[misc]
                if batch := self._fitting(key):  # else another device has taken them meanwhile
                    for job in batch:
                        self._jobs.remove(job)
                    return batch

    def _fitting(self, key: Hashable) -> list[Job]:
        return [job for job in self._jobs if job.batch_key() == key][: self.max_batch]

    def _is_complete(self, key: Hashable) -> bool:
        """Whether waiting for more images of this kind is pointless: enough are here, or others wait."""
        return self.closed or len(self._fitting(key)) != len(self._jobs) or len(self._jobs) >= self.max_batch

    def _work(self, translators: Mapping[str, Translator]) -> None:
        while batch := self._next_batch():
            batch = [job for job in batch if job.result.set_running_or_notify_cancel()]
            if batch:
                self.on_batch(len(batch))
                _translate(translators[batch[0].key], batch)


def _translate(translator: Translator, batch: Sequence[Job]) -> None:
    def stop_if_cancelled(done: int, total: int) -> None:
        if all(job.cancelled for job in batch):
            raise Cancelled

    translator.any_size.progress = stop_if_cancelled  # called while a large image is translated in bands
    try:
        if len(batch) == 1:
            results = [translator.translate(batch[0].pixels)]
        else:
            results = translator.translate_batch([job.pixels for job in batch])
    except Exception as error:  # whatever it is, the others in the queue must be translated
        for job in batch:
            job.result.set_exception(error)
    else:
        for job, result in zip(batch, results, strict=True):
            job.result.set_result(result)
