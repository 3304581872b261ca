"""Independent computations side by side on the cores of a CPU."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

Result = TypeVar("Result")


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="concurrently")


def concurrently(*functions: Callable[[], Result], threads: int) -> tuple[Result, ...]:
    """Call the functions in one thread each, and return their results in order.

    Operations on small images leave most threads of an operation waiting, so that two at once take little longer than
    one. Each thread gets the caller's grad mode and CPU autocast, and its operations use `threads` of PyTorch's
    threads from then on, the caller's too, since switching back and forth takes longer than a small network.
    """
    grad = torch.is_grad_enabled()
    autocast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    def call(function: Callable[[], Result]) -> Result:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        with torch.set_grad_enabled(grad), torch.autocast("cpu", dtype, enabled=autocast):
            return function()

    first, *others = functions
    pending = [_pool(len(others)).submit(call, function) for function in others]
    try:
        result = call(first)
    finally:
        for future in pending:  # also after an error: nothing may go on in the background
            future.exception()
    return result, *(future.result() for future in pending)
