"""Comparing several runs on the same test images: their metrics side by side, and which differences are significant."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot, isfinite
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
MIN_PAIRS = 6  # images; with fewer, even a sign test cannot reach this p-value
VERDICTS = {"higher": ("worse", "better"), "lower": ("better", "worse"), "neither": ("less", "more")}  # less, more
LEGEND = (
    "Each run is compared with the first; in parentheses, the 95% interval of the difference. Significant: p < 0.05 "
    "by the paired bootstrap over the same images; for metrics of whole sets, an interval without zero. Values without "
    "a comparison: not significant, there are too few images to tell. All this concerns these models; runs of equal "
    "settings and other seeds differ, too."
)


@dataclass(frozen=True)
class Difference:
    """A run's value minus the first run's. `interval` is None where it cannot be estimated, `p` without pairs."""

    value: float
    interval: Interval | None
    p: float | None
    significant: bool
    verdict: str  # better, worse, more, less, "not significant", or "not significant (n too small)"


def compare_values(key: str, first: MetricValue, other: MetricValue) -> Difference:
    """Compare a metric of two runs measured on the same images.

    Per-image metrics are compared by the paired bootstrap. For metrics of whole sets, the errors of both values are
    added as if they were independent, which is stricter.
    """
    value, interval, p, testable = other.value - first.value, None, None, False
    if len(first.per_image) == len(other.per_image) > 1 and all(map(isfinite, (*first.per_image, *other.per_image))):
        value, interval, p = paired_difference(first.per_image, other.per_image)
        testable = len(first.per_image) >= MIN_PAIRS
        significant = testable and p < SIGNIFICANCE
    elif first.interval is not None and other.interval is not None:
        error = hypot(first.interval[1] - first.value, other.interval[1] - other.value)
        interval, testable, significant = (value - error, value + error), True, abs(value) > error
    else:
        significant = False
    verdict = VERDICTS[metric_info(key).better][value > 0]
    if not significant:
        verdict = "not significant" if testable else "not significant (n too small)"
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
    config = evaluation_config(resolve_source(runs[0]), data, "--data FOLDER")
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
    """A row per metric: its name and each run's value, for the others with the difference on a second line."""
    rows = []
    for key, differences in comparison.differences.items():
        digits, row = metric_info(key).digits, [heading(key)]
        for evaluation, difference in zip(comparison.evaluations, (None, *differences), strict=True):
            text = format_number(evaluation.metrics[key].value, digits)
            row.append(
                text + (f"\n{words}" if difference and (words := _describe_difference(difference, digits)) else "")
            )
        rows.append(row)
    return rows


def _describe_difference(difference: Difference, digits: int) -> str:
    """The verdict, the size of the difference, and its interval: "better by 0.22 (0.10 to 0.34)"; else empty."""
    if difference.interval is None or "small" in difference.verdict:
        return ""
    ends, size = difference.interval, ""
    if difference.significant:
        ends = min(map(abs, ends)), max(map(abs, ends))
        size = f" by {format_number(abs(difference.value), digits)}"
    return f"{difference.verdict}{size} ({format_interval(ends, digits)})"


def run_labels(runs: Sequence[Path]) -> list[str]:
    """The folder names of the runs, or their paths if names are not unique."""
    names = [run.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]
