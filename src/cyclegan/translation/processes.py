"""Translating many images by several processes: started here, or by torchrun or Slurm."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from cyclegan.errors import CycleGANError
from cyclegan.system.text import counted
from cyclegan.translation.files import Job, translate
from cyclegan.translation.translator import Translator


def select_gpu(local_rank: int) -> None:
    """Let this process see one GPU only, by its number on this machine; call it before CUDA is used."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(torch.cuda.device_count())))).split(",")
    os.environ["CUDA_VISIBLE_DEVICES"] = names[local_rank % len(names)]


def translate_in_processes(
    load: Callable[[], Translator], jobs: Sequence[Job], processes: int, **options: Any
) -> Iterator[str | None]:
    """As `files.translate` with its `options`, by new processes with a GPU each, or their fraction of the CPU cores.

    Each calls `load`, which must be picklable, and gets every n-th job; results come in any order. When a process is
    killed, the others finish. Raises `CycleGANError` then, and as `load` and `files.translate`.
    """
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    workers = []
    remaining: dict[Any, int] = {}  # results to come from each connection
    try:
        for rank in range(processes):
            share = jobs[rank::processes]
            receiver, sender = context.Pipe(duplex=False)
            workers.append(
                context.Process(target=_work, args=(sender, load, share, rank, processes, options), daemon=True)
            )
            workers[-1].start()
            sender.close()
            remaining[receiver] = len(share)
        lost = 0
        ready: Any  # connection
        while remaining:
            for ready in wait([*remaining]):
                try:
                    result = ready.recv()
                except EOFError:
                    lost += remaining.pop(ready)
                    continue
                if isinstance(result, Exception):
                    raise result
                remaining[ready] -= 1
                if not remaining[ready]:
                    del remaining[ready]
                yield result
        if lost:
            raise CycleGANError(
                f"A process was killed with {counted(lost, 'image')} unfinished; add --resume to continue."
            )
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _work(
    results: Connection,
    load: Callable[[], Translator],
    jobs: Sequence[Job],
    rank: int,
    processes: int,
    options: dict[str, Any],
) -> None:
    """Translate jobs in a process of its own, and send what `files.translate` yields or raises."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    os.environ["LOCAL_WORLD_SIZE"] = str(processes)  # divides the memory
    torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    select_gpu(rank)
    try:
        for problem in translate(load(), jobs, **options):
            results.send(problem)
    except Exception as error:
        results.send(error)
