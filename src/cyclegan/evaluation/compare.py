"""Comparing several runs on the same test images: their metrics side by side, and which differences are significant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from cyclegan.config.schema import Direction
from cyclegan.errors import UsageError
from cyclegan.evaluation.evaluate import evaluate, evaluation_config
from cyclegan.evaluation.table import format_interval, format_number, heading
from cyclegan.evaluation.test_set import MAX_IMAGES
from cyclegan.metrics.intervals import Interval, MetricValue, paired_difference
from cyclegan.runs.results import Evaluation, metric_info, sort_metrics

SIGNIFICANCE = 0.05  # p-value
LEGEND = (
    "In parentheses: 95 % interval. Better, worse, more or less: significantly different from the first run (paired "
    "bootstrap over the same images, p < 0.05; for metrics of whole sets, disjoint intervals). =: not significant."
)


@dataclass(frozen=True)
class Difference:
    """A run's value minus the first run's. `interval` and `p` are None where only the two intervals are compared."""

    value: float
    interval: Interval | None
    p: float | None
    significant: bool
    verdict: str  # "better" or "worse"; "more" or "less" for metrics without a preferred direction


def compare_values(key: str, first: MetricValue, other: MetricValue) -> Difference:
    """Compare a metric of two runs measured on the same images.

    Per-image metrics are compared by the paired bootstrap. Metrics of whole sets differ significantly when their
    intervals are disjoint, which is stricter.
    """
    value, interval, p, significant = other.value - first.value, None, None, False
    if len(first.per_image) == len(other.per_image) > 1 and all(map(isfinite, (*first.per_image, *other.per_image))):
        value, interval, p = paired_difference(first.per_image, other.per_image)
        significant = p < SIGNIFICANCE
    elif first.interval is not None and other.interval is not None:
        significant = first.interval[1] < other.interval[0] or other.interval[1] < first.interval[0]
    better = metric_info(key).better
    if better == "neither":
        verdict = "more" if value > 0 else "less"
    else:
        verdict = "better" if (value > 0) == (better == "higher") else "worse"
    return Difference(value, interval, p, significant, verdict)


@dataclass(frozen=True)
class Comparison:
    """A direction that all runs have learned: an evaluation of each run, and differences from the first by metric."""

    direction: Direction
    evaluations: tuple[Evaluation, ...]
    differences: dict[str, tuple[Difference, ...]]  # by the metrics that all runs have


def compare(
    runs: Sequence[Path],
    data: Path | None = None,
    *,
    max_images: int = MAX_IMAGES,
    inception: str | None = None,
    device: str = "auto",
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[Comparison]:
    """Evaluate runs, checkpoints or models on the test images of the first one's data, or of `data`, at one size.

    Arguments as for `evaluate`. Raises `UsageError` for fewer than two runs, or runs without a common direction.
    """
    if len(runs) < 2:
        raise UsageError("Give two or more runs to compare.")
    config = evaluation_config(runs[0], data)
    folder = data or config.data.data
    if folder is None:
        raise UsageError(f"The data of {runs[0]} is in two folders; name one folder with --data.")
    evaluations = [
        {
            each.direction: each
            for each in evaluate(
                run,
                folder,
                size=config.data.crop_size,
                max_images=max_images,
                inception=inception,
                device=device,
                on_progress=on_progress,
            )
        }
        for run in runs
    ]
    common = [direction for direction in evaluations[0] if all(direction in each for each in evaluations)]
    if not common:
        raise UsageError("The runs have no direction in common.")
    return [_compare_direction([each[direction] for each in evaluations]) for direction in common]


def _compare_direction(evaluations: Sequence[Evaluation]) -> Comparison:
    first, *others = evaluations
    keys = sort_metrics(key for key in first.metrics if all(key in each.metrics for each in others))
    differences = {
        key: tuple(compare_values(key, first.metrics[key], each.metrics[key]) for each in others) for key in keys
    }
    return Comparison(first.direction, tuple(evaluations), differences)


def table_rows(comparison: Comparison) -> list[list[str]]:
    """A row per metric: its name and each run's value with interval, the others' with their difference."""
    rows = []
    for key, differences in comparison.differences.items():
        cells = []
        for value in (each.metrics[key] for each in comparison.evaluations):
            interval = format_interval(value.interval, metric_info(key).digits).replace(" ", "")
            cells.append(format_number(value.value, metric_info(key).digits) + (f" ({interval})" if interval else ""))
        verdicts = ["", *(f" {each.verdict if each.significant else '='}" for each in differences)]
        rows.append([heading(key), *map("".join, zip(cells, verdicts, strict=True))])
    return rows


def run_labels(runs: Sequence[Path]) -> list[str]:
    """The folder names of the runs, or their paths if names are not unique."""
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]
