"""Shared by the benchmarks: results in a file, so that a stopped benchmark continues, and their formatting."""

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from cyclegan.errors import CycleGANError

Result = TypeVar("Result")


def read_results(file: Path, kind: Callable[..., Result]) -> list[Result]:
    """The stored results, one per line; empty without a file."""
    return [kind(**json.loads(line)) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def measure_missing(
    file: Path, kind: type[Any], variants: Iterable[str], seeds: Sequence[int], steps: int, measure: Callable[..., Any]
) -> list[Any]:
    """Call `measure(variant, seed)` for missing results, store each immediately, and return all requested ones.

    `kind` is a dataclass with the fields variant, seed and steps.
    """
    names = list(variants)
    for seed in seeds:
        for variant in names:
            if not any((r.variant, r.seed, r.steps) == (variant, seed, steps) for r in read_results(file, kind)):
                result = measure(variant, seed)
                with file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(asdict(result)) + "\n")
    requested = [r for r in read_results(file, kind) if r.steps == steps and r.seed in seeds]
    return [r for r in requested if r.variant in names]


def spread(values: Sequence[float], digits: int) -> str:
    """The mean, and for several values the minimum and maximum."""
    mean, low, high = (f"{v:.{digits}f}".replace("-", "−") for v in (statistics.mean(values), min(values), max(values)))
    return mean if len(values) == 1 else f"{mean} ({low} to {high})"


def run_program(main: Callable[[], None]) -> None:
    """Call a benchmark's `main`; expected errors end it with their message."""
    try:
        main()
    except CycleGANError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
