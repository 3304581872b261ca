"""Computations side by side."""

import threading
from collections.abc import Iterator

import pytest
import torch

from cyclegan.system.concurrent import concurrently


@pytest.fixture(autouse=True)
def _keep_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_functions_run_at_the_same_time_and_return_in_order() -> None:
    barrier = threading.Barrier(2, timeout=30)  # passes only if both wait at once

    def numbered(number: int) -> int:
        barrier.wait()
        return number

    assert concurrently(lambda: numbered(1), lambda: numbered(2), threads=1) == (1, 2)


def test_threads_get_their_share_the_grad_mode_and_autocast_of_the_caller() -> None:
    def observed() -> tuple[int, bool, bool]:
        return torch.get_num_threads(), torch.is_grad_enabled(), torch.is_autocast_enabled("cpu")

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert concurrently(observed, observed, threads=2) == ((2, False, True),) * 2
    assert concurrently(observed, observed, threads=1) == ((1, True, False),) * 2


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_is_raised_after_all_have_ended(failing: int) -> None:
    ended = []

    def run(number: int) -> None:
        ended.append(number)
        if number == failing:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        concurrently(lambda: run(0), lambda: run(1), threads=1)
    assert sorted(ended) == [0, 1]
