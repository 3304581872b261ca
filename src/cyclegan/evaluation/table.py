"""Figures as tables: for the terminal, and as text for the report."""

from collections.abc import Sequence

from rich.table import Table

from cyclegan.methods.specs import counted
from cyclegan.metrics.distributions import FEW
from cyclegan.runs.results import TRUTH, Evaluation, Figure, metric, ordered

Row = tuple[str, str, str, str, str]
HEADINGS: Row = ("", "value", "95 % interval", "untranslated", "real")


ARROWS = {"higher": "↑", "lower": "↓", "neither": ""}


def groups(evaluation: Evaluation) -> list[tuple[str, list[Row]]]:
    """The figures in words, by groups in the order of `METRICS`."""
    found: dict[str, list[Row]] = {}
    for key in ordered(evaluation.figures):
        found.setdefault(metric(key).group, []).append(_row(key, evaluation.figures[key], len(evaluation.names)))
    return list(found.items())


def _row(key: str, figure: Figure, images: int) -> Row:
    kind = metric(key)
    fewer = "" if figure.images == images else f" ({figure.images} images)"
    value, untranslated, real = (number(v, kind.digits) for v in (figure.value, figure.untranslated, figure.real))
    return f"{heading(key)}{fewer}", value, interval(figure, kind.digits), untranslated, real


def heading(key: str) -> str:
    """A metric's name, and an arrow to where it is better, if that can be said."""
    kind = metric(key)
    return f"{kind.name} {ARROWS[kind.better]}".rstrip()


def interval(figure: Figure, digits: int) -> str:
    """Both ends of a figure's interval; nothing where there is none."""
    return "" if figure.interval is None else " – ".join(number(end, digits) for end in figure.interval)


def number(value: float | None, digits: int) -> str:
    """A number with a true minus sign; nothing for None."""
    if value is None:
        return ""
    return "∞" if value == float("inf") else f"{value:.{digits}f}".replace("-", "−")


def table(evaluation: Evaluation) -> Table:
    """One direction's figures, at most 80 columns wide."""
    title = f"{evaluation.source} → {evaluation.target}"
    step = "" if evaluation.step is None else f", step {evaluation.step:,}"
    caption = f"{counted(len(evaluation.names), 'image')} at {evaluation.size}×{evaluation.size}{step}"
    made = Table(title=f"{title}  ({caption})", title_justify="left", title_style="bold", box=None, padding=(0, 1))
    for name in HEADINGS:
        made.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for group, rows in groups(evaluation):
        made.add_row(f"[dim]{group}[/dim]")
        for row in rows:
            made.add_row(f"  {row[0]}", f"[bold]{row[1]}[/bold]", row[2].replace(" ", ""), *row[3:])
    return made


def remarks(evaluations: Sequence[Evaluation]) -> list[str]:
    """What has to be said beside the figures, each sentence once."""
    said = list(dict.fromkeys(note for each in evaluations for note in each.notes))
    figures = [each.figures for each in evaluations]
    if any("fid" in each and each["fid"].images < FEW for each in figures):
        said.append(f"With fewer than {FEW:,} images prefer KID: FID is biased upwards, the more the fewer they are.")
    if any("kid_efficientnet" in each for each in figures):
        said.append("KD by EfficientNet-Lite0 orders models; it is not to be compared with published KID or FID.")
    if not any(metric(key).group == TRUTH for each in figures for key in each):
        said.append("There is no truth to compare with: test images of equal names in both domains would be one.")
    return said


LEGEND = (
    "↑ higher is better, ↓ lower, others should be as of real images. Untranslated: the same figure of the inputs as "
    "they are. Real: of further real images of the target; of edges and structure, of the truth."
)
