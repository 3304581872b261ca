"""Training batches on the device, and reports of images that cannot be read."""

import multiprocessing
import os
from collections.abc import Generator
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from lightning_fabric import Fabric

from cyclegan.config.schema import Config
from cyclegan.data.datasets import Batches, UnpairedImages, make_loader
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.methods.method import Batch
from cyclegan.system.signals import kept_child_handler
from cyclegan.training.distributed import all_gather_objects
from cyclegan.training.monitor import MonitorList

UNGUARDED = (
    "Loader processes import the main script, which must therefore call cyclegan under "
    '`if __name__ == "__main__":`; add that line, or load images in the main process with workers=0.'
)


UNGUARDED_EXIT_CODE = 90
END_SECONDS = 5.0  # within which the end of a loader process is noticed


def refuse_loader_process() -> None:
    """End a loader process whose import of the main script trains again; `TrainLoader` reports it to the user."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # as multiprocessing itself detects it
        os._exit(UNGUARDED_EXIT_CODE)  # an exception's exit code does not reach the parent under forkserver


class TrainLoader:
    """An endless iterator over this process's batches, from batch number `first` on."""

    def __init__(self, config: Config, fabric: Fabric, dataset: UnpairedImages, monitors: MonitorList):
        self.fabric, self.dataset, self.monitors = fabric, dataset, monitors
        self.sampler = Batches(
            len(dataset), config.data.batch_size, process=fabric.global_rank, processes=fabric.world_size
        )
        self.reported: dict[str, str] = {}  # unreadable images of all processes -> error message
        self.unreported: dict[str, str] = {}  # of this process
        self._batches = self._load()

    def __iter__(self) -> "TrainLoader":
        return self

    def __next__(self) -> Batch:
        return next(self._batches)

    def _load(self) -> Generator[Batch, None, None]:
        while True:
            try:
                with kept_child_handler():
                    batches = iter(make_loader(self.dataset, self.sampler))
            except (EOFError, ConnectionError):  # the fork server itself imports the main script in later Pythons
                raise UsageError(UNGUARDED) from None
            try:
                for batch in batches:
                    if batch.error is not None:
                        raise batch.error
                    if batch.cache_problem:
                        self.monitors.message(batch.cache_problem, once="cache")
                    self.unreported |= {p: m for p, m in batch.unreadable.items() if p not in self.reported}
                    self.sampler.first += 1
                    yield {domain: self.fabric.to_device(images) for domain, images in batch.images.items()}
            except (RuntimeError, OSError, EOFError):  # a batch of a process that has just ended cannot be received
                workers: list[BaseProcess] = getattr(batches, "_workers", [])
                ended = wait([worker.sentinel for worker in workers], END_SECONDS)
                if not ended:
                    raise
                self._continue_with_fewer(next(worker for worker in workers if worker.sentinel in ended))
            finally:
                # Without its last reference the iterator ends its processes, which ignore signals. The traceback of an
                # error in a batch would keep it, and the interpreter would wait for them at its exit forever.
                del batches

    def _continue_with_fewer(self, ended: BaseProcess) -> None:
        """Lower the number of loader processes by one after one has ended, perhaps for lack of memory."""
        ended.join()
        code = ended.exitcode or 0
        if code == UNGUARDED_EXIT_CODE:
            raise UsageError(UNGUARDED) from None
        reason = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        problem = f"Loader process {ended.pid} {reason}; memory may have run out."
        left = self.dataset.config.workers - 1
        if not left:  # without loader processes, a file that crashes its decoder would crash this one
            raise CycleGANError(f"{problem} Close other programs, or lower --cache-size or --batch-size.") from None
        self.monitors.message(f"{problem} Training continues with {left} loader process{'es' if left > 1 else ''}.")
        self.dataset.config = replace(self.dataset.config, workers=left)

    def start_at(self, batch: int) -> None:
        """Begin with this batch number. To be called before the first batch is taken."""
        self.sampler.first = batch

    def preload(self) -> None:
        """Decode all images into the cache; each process starts at a different one."""
        start = self.fabric.global_rank / self.fabric.world_size
        self.monitors.message(self.dataset.preload(start, lambda *done: self.monitors.call("on_preload", *done)))

    def report_unreadable(self) -> None:
        """Report each image that a process could not read, once. All processes must call it."""
        for unreadable in all_gather_objects(self.fabric, self.unreported):
            for path, message in unreadable.items():
                if path not in self.reported:
                    self.reported[path] = message
                    self.monitors.message(f"{message} It is left out.")
        self.unreported = {}

    def close(self) -> None:
        """Stop the loader processes."""
        self._batches.close()
