"""What the programs here share: results kept one a line so that a stopped program goes on, spreads, and their ends."""

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
    """The results so far, one a line; none when there is no file."""
    return [kind(**json.loads(line)) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def measure_missing(
    file: Path, kind: type[Any], variants: Iterable[str], seeds: Sequence[int], steps: int, measure: Callable[..., Any]
) -> list[Any]:
    """Call `measure(variant, seed)` for what has no result yet, keep each at once, return all that was asked for.

    `kind` is a dataclass with the fields variant, seed and steps.
    """
    names = list(variants)
    for seed in seeds:
        for variant in names:
            if not any((r.variant, r.seed, r.steps) == (variant, seed, steps) for r in read_results(file, kind)):
                result = measure(variant, seed)
                with file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(asdict(result)) + "\n")
    asked = [r for r in read_results(file, kind) if r.steps == steps and r.seed in seeds]
    return [r for r in asked if r.variant in names]


def spread(values: Sequence[float], digits: int) -> str:
    """The mean and, of several, the least and the largest."""
    mean, low, high = (f"{v:.{digits}f}".replace("-", "−") for v in (statistics.mean(values), min(values), max(values)))
    return mean if len(values) == 1 else f"{mean} ({low} to {high})"


def run_program(main: Callable[[], None]) -> None:
    """Call a program's `main`; what a user did wrong, or cannot help, ends it with a sentence."""
    try:
        main()
    except CycleGANError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
