"""Evaluations as tables, for the terminal and the report."""

from collections.abc import Sequence

from rich.table import Table

from cyclegan.metrics.distributions import MIN_FID_IMAGES
from cyclegan.metrics.intervals import Interval
from cyclegan.runs.results import TRUTH, Evaluation, metric_info, sort_metrics
from cyclegan.system.text import counted

HEADINGS = ("", "value", "95% interval", "untranslated", "real")
ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}
LEGEND = (
    "↑ higher is better, ↓ lower is better; otherwise closer to real images is better. Untranslated: the same metric "
    "of the unchanged inputs. Real: of other real target images; of edges and structure, of the ground truth. "
    "All metrics are explained at https://cyclegan.github.io/cyclegan/measuring/"
)


def metric_groups(evaluation: Evaluation) -> list[tuple[str, list[list[str]]]]:
    """The groups of `METRICS` with a row of text for each metric, in the columns of `HEADINGS`."""
    groups: dict[str, list[list[str]]] = {}
    for key in sort_metrics(evaluation.metrics):
        info, value = metric_info(key), evaluation.metrics[key]
        fewer = "" if value.images == len(evaluation.names) else f" ({value.images} images)"
        row = [format_number(each, info.digits) for each in (value.value, value.untranslated, value.real)]
        row.insert(1, format_interval(value.interval, info.digits))
        groups.setdefault(info.group, []).append([f"{heading(key)}{fewer}", *row])
    return list(groups.items())


def heading(key: str) -> str:
    """A metric's name with an arrow in the direction of better values."""
    return f"{metric_info(key).name} {ARROWS[metric_info(key).better]}".rstrip()


def format_interval(interval: Interval | None, digits: int) -> str:
    """Both ends of an interval; empty for None."""
    return "" if interval is None else " to ".join(format_number(end, digits) for end in interval)


def format_number(value: float | None, digits: int) -> str:
    """A number with a typographic minus sign; empty for None."""
    if value is None:
        return ""
    return "∞" if value == float("inf") else f"{value:.{digits}f}".replace("-", "−")


def evaluation_table(evaluation: Evaluation) -> Table:
    """One direction's metrics for a terminal of at least 80 columns."""
    step = "" if evaluation.step is None else f", step {evaluation.step:,}"
    details = f"{counted(len(evaluation.names), 'image')} at {evaluation.size}×{evaluation.size}{step}"
    title = f"{evaluation.source} → {evaluation.target}  ({details})"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1))
    for name in HEADINGS:
        table.add_column(name, justify="right" if name else "left", no_wrap=bool(name))  # figures are never cut
    for group, rows in metric_groups(evaluation):
        table.add_row(f"[dim]{group}[/dim]")
        for name, value, interval, *references in rows:
            table.add_row(f"  {name}", f"[bold]{value}[/bold]", interval, *references)
    return table


def footnotes(evaluations: Sequence[Evaluation]) -> list[str]:
    """Sentences that qualify the metrics, without repetition."""
    notes = list(dict.fromkeys(note for each in evaluations for note in each.notes))
    metrics = [each.metrics for each in evaluations]
    if any("fid" in each and each["fid"].images < MIN_FID_IMAGES for each in metrics):
        notes.append(f"With fewer than {MIN_FID_IMAGES:,} images, prefer KID: FID is biased upward for small sets.")
    if any("kd_efficientnet" in each for each in metrics):
        inception = "" if any("kid" in each for each in metrics) else " For those, add --inception download."
        notes.append(
            "KD (EfficientNet-Lite0) ranks models; it is not comparable with published KID or FID values." + inception
        )
    if not any(metric_info(key).group == TRUTH for each in metrics for key in each):
        notes.append("There is no ground truth: that needs test images with equal file names in both domains.")
    return notes
