"""Several runs on the same images: their figures side by side, which differences are real, and the pictures."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cyclegan.config.schema import Direction
from cyclegan.errors import UsageError
from cyclegan.evaluation import table
from cyclegan.evaluation.evaluate import MOST_IMAGES, configuration, evaluate
from cyclegan.metrics.intervals import paired_difference
from cyclegan.runs.results import Evaluation, Figure, metric, ordered

SURE = 0.05  # p-value below which a difference counts
SHOWN = 12  # inputs of each direction on the page
SIDE = 192  # pixels of the pictures on the page, at most


@dataclass(frozen=True)
class Difference:
    """A run's figure minus the first run's. `p` is None where only the intervals can be compared."""

    value: float
    interval: tuple[float, float] | None
    p: float | None
    sure: bool
    verdict: str  # "better" or "worse"; "more" or "less" of a metric of which neither is


def difference(key: str, first: Figure, other: Figure) -> Difference:
    """How two runs differ, measured on the same images.

    Figures of single images are compared by the paired bootstrap; those of whole sets differ surely when their
    intervals do not touch, which is stricter.
    """
    if len(first.each) == len(other.each) > 1 and all(map(_finite, (*first.each, *other.each))):
        value, interval, p = paired_difference(first.each, other.each)
        sure = p < SURE
    else:
        value, interval, p = other.value - first.value, None, None
        ends = first.interval, other.interval
        sure = ends[0] is not None and ends[1] is not None and (ends[0][1] < ends[1][0] or ends[1][1] < ends[0][0])
    return Difference(value, interval, p, sure, _verdict(key, value))


def _verdict(key: str, change: float) -> str:
    kind = metric(key).better
    if kind == "neither":
        return "more" if change > 0 else "less"
    return "better" if (change > 0) == (kind == "higher") else "worse"


def _finite(value: float) -> bool:
    return abs(value) != float("inf")


@dataclass(frozen=True)
class Comparison:
    """A direction that all runs have learned: one evaluation a run, and differences from the first by metric."""

    direction: Direction
    evaluations: tuple[Evaluation, ...]
    differences: dict[str, tuple[Difference, ...]]

    @property
    def keys(self) -> list[str]:
        """The metrics that all runs have, in the usual order."""
        return ordered(k for k in self.evaluations[0].figures if all(k in e.figures for e in self.evaluations))


def compare(
    runs: Sequence[Path],
    data: Path | None = None,
    *,
    most: int = MOST_IMAGES,
    inception: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[Comparison]:
    """Measure runs, checkpoints or models on the test images of the first one's data, or of `data`.

    All see the same images at the same size. Raises `UsageError` for fewer than two, and for runs that have no
    direction in common.
    """
    if len(runs) < 2:
        raise UsageError("Give two runs or more to compare.")
    config, size = configuration(runs[0], data)
    place = data or config.data.data
    if place is None:
        raise UsageError(f"The data of {runs[0]} is in two folders; name one folder with --data.")
    found = [evaluate(run, place, size=size, most=most, inception=inception, say=say) for run in runs]
    shared = [e.direction for e in found[0] if all(any(e.direction == o.direction for o in other) for other in found)]
    if not shared:
        raise UsageError("The runs have no direction in common.")
    return [_compared([next(e for e in each if e.direction == direction) for each in found]) for direction in shared]


def _compared(evaluations: Sequence[Evaluation]) -> Comparison:
    first, *others = evaluations
    bare = Comparison(first.direction, tuple(evaluations), {})
    differences = {key: tuple(difference(key, first.figures[key], o.figures[key]) for o in others) for key in bare.keys}
    return Comparison(first.direction, tuple(evaluations), differences)


def rows(comparison: Comparison) -> list[list[str]]:
    """A row a metric: its name, the first run's figure with its interval, the others' with what their difference is."""
    made = []
    for key in comparison.keys:
        digits = metric(key).digits
        first, *others = (each.figures[key] for each in comparison.evaluations)
        cells = [_cell(first, digits)]
        for figure, change in zip(others, comparison.differences[key], strict=True):
            cells.append(f"{_cell(figure, digits)} {_mark(change)}")
        made.append([table.heading(key), *cells])
    return made


def _cell(figure: Figure, digits: int) -> str:
    ends = table.interval(figure, digits).replace(" ", "")
    return table.number(figure.value, digits) + (f" ({ends})" if ends else "")


def _mark(change: Difference) -> str:
    return change.verdict if change.sure else "="


LEGEND = (
    "In brackets the 95 % interval. Better and worse, of some figures more and less: surely different from the first "
    "run (paired bootstrap on the same images, p < 0.05; of whole sets, intervals that do not touch); = is not sure."
)


def to_plain(comparisons: Sequence[Comparison]) -> list[dict[str, object]]:
    """As plain data for JSON."""
    return [asdict(each) for each in comparisons]


def labels(runs: Sequence[Path]) -> list[str]:
    """The shortest names that tell the runs apart: the folders' own, or the whole paths."""
    short = [run.resolve().name for run in runs]
    return short if len(set(short)) == len(short) else [str(run) for run in runs]
