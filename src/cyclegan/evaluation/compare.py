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
from cyclegan.runs.hub import resolve_source
from cyclegan.runs.results import Evaluation, metric_info, sort_metrics

SIGNIFICANCE = 0.05  # p-value
VERDICTS = {"higher": ("worse", "better"), "lower": ("better", "worse"), "neither": ("less", "more")}  # less, more
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
    return Difference(value, interval, p, significant, VERDICTS[metric_info(key).better][value > 0])


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
    config = evaluation_config(resolve_source(runs[0]), data)
    folder = data or config.data.data
    if folder is None:
        raise UsageError(f"The data of {runs[0]} is in two folders; name one folder with --data.")
    found = (
        evaluate(
            run,
            folder,
            size=config.data.crop_size,
            max_images=max_images,
            inception=inception,
            device=device,
            on_progress=on_progress,
        )
        for run in runs
    )
    evaluations = [{each.direction: each for each in of_run} for of_run in found]
    common = [direction for direction in evaluations[0] if all(direction in each for each in evaluations)]
    if not common:
        raise UsageError("The runs have no direction in common.")
    comparisons = []
    for direction in common:
        first, *others = (each[direction] for each in evaluations)
        keys = sort_metrics(key for key in first.metrics if all(key in each.metrics for each in others))
        differences = {k: tuple(compare_values(k, first.metrics[k], each.metrics[k]) for each in others) for k in keys}
        comparisons.append(Comparison(direction, (first, *others), differences))
    return comparisons


def table_rows(comparison: Comparison) -> list[list[str]]:
    """A row per metric: its name and each run's value with interval, the others' with their difference."""
    rows = []
    for key, differences in comparison.differences.items():
        row, verdicts = [heading(key)], ["", *(f" {each.verdict if each.significant else '='}" for each in differences)]
        for evaluation, verdict in zip(comparison.evaluations, verdicts, strict=True):
            value, digits = evaluation.metrics[key], metric_info(key).digits
            interval = f" ({format_interval(value.interval, digits).replace(' ', '')})" if value.interval else ""
            row.append(f"{format_number(value.value, digits)}{interval}{verdict}")
        rows.append(row)
    return rows


def run_labels(runs: Sequence[Path]) -> list[str]:
    """The folder names of the runs, or their paths if names are not unique."""
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]
