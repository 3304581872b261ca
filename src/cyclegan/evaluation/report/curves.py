"""Loss curves as inline SVG in the colors of the surrounding page."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOT_LOSSES = ("step", "epoch", "progress", "minutes", "images_per_second", "memory", "learning_rate", "data_wait")
MAX_POINTS = 600  # per curve
# matplotlib does not support CSS variables: these placeholder colors are replaced in the finished SVG.
_PLACEHOLDERS = {"#010203": "var(--faint)", "#040506": "var(--rule)", "#070809": "var(--ab)", "#0a0b0c": "var(--ba)"}
_TEXT, _GRID, _FIRST, _SECOND = _PLACEHOLDERS

Groups = Mapping[str, tuple[tuple[str, str], ...]]  # heading -> (column, label) of each curve
QUALITY_GROUPS: Groups = {
    "PSNR (dB)": (("psnr_AtoB", "{a} → {b}"), ("psnr_BtoA", "{b} → {a}")),
    "SSIM": (("ssim_AtoB", "{a} → {b}"), ("ssim_BtoA", "{b} → {a}")),
    "Sliced Wasserstein distance": (("swd_AtoB", "{a} → {b}"), ("swd_BtoA", "{b} → {a}")),
}


@dataclass(frozen=True)
class Panel:
    """A chart: its heading, the label and CSS color variable of each curve, and the SVG."""

    heading: str
    legend: tuple[tuple[str, str], ...]
    svg: str


def build_panels(
    metrics: dict[str, list[float]], names: tuple[str, str], groups: Groups, prefix: str = "c"
) -> list[Panel]:
    """A panel for each group of columns in the metrics, and one for each other column; none for fewer than two rows.

    `names` are the domains' names; `prefix` makes element ids unique within the page.
    """
    if len(metrics.get("step", [])) < 2:
        return []
    panels: list[Panel] = []
    for heading, columns in group_columns(metrics, names, groups).items():
        svg = _draw(metrics["step"], [metrics[column] for column in columns], f"{prefix}{len(panels)}-", heading)
        panels.append(Panel(heading, tuple(zip(columns.values(), ("ab", "ba"), strict=False)), svg))
    return panels


def group_columns(metrics: Iterable[str], names: tuple[str, str], groups: Groups) -> dict[str, dict[str, str]]:
    """Headings, each with its columns of the metrics and their labels; a column outside all groups is its own heading.

    `names` are the domains' names.
    """
    grouped = {column for curves in groups.values() for column, _ in curves}
    present = [column for column in metrics if column not in NOT_LOSSES]
    panels = {
        heading: {column: label.format(a=names[0], b=names[1]) for column, label in curves if column in present}
        for heading, curves in groups.items()
    }
    panels |= {column: {column: ""} for column in present if column not in grouped}
    return {heading: columns for heading, columns in panels.items() if columns}


def smooth(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A moving average over 4% of the values, over fewer at both ends."""
    half = max(1, len(values) // 50)
    sums = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    means: np.ndarray[tuple[int], np.dtype[np.float64]] = (sums[high] - sums[low]) / (high - low)
    return means


def _draw(steps: Sequence[float], curves: Sequence[Sequence[float]], prefix: str, heading: str) -> str:
    from matplotlib.figure import Figure  # the live page needs this module, but not matplotlib
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(5.2, 2.5), layout="constrained")
    axes = figure.add_subplot()
    every = -(-len(steps) // MAX_POINTS)
    for values, color in zip(curves, (_FIRST, _SECOND), strict=False):
        if len(values) >= 20:
            axes.plot(steps[::every], values[::every], color=color, linewidth=0.8, alpha=0.4)
        line = smooth(values) if len(values) >= 20 else np.asarray(values)
        axes.plot(steps[::every], line[::every], color=color, linewidth=1.8, solid_capstyle="round")
    highest = max(float(np.quantile(values, 0.99)) for values in curves)
    lowest = min(min(values) for values in curves)
    axes.set_ylim(min(0.0, lowest), highest * 1.08 if highest > 0 else None)  # a spike would flatten everything else
    axes.set_xlim(min(steps), max(max(steps), min(steps) + 1))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.grid(axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=9, labelcolor=_TEXT, pad=5)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}".replace(",", "\u2009"))
    axes.set_xlabel("step", fontsize=9, color=_TEXT)
    return _inline(figure, prefix, heading)


def _inline(figure: "Figure", prefix: str, heading: str) -> str:
    """The figure as an <svg> element without prologue and metadata, with unique ids and the page's colors."""
    import matplotlib as mpl
    from markupsafe import escape

    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    _, box, svg = re.split(r'<svg [^>]*(viewBox="[^"]*")[^>]*>', text.getvalue(), maxsplit=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = f'<svg {box} role="img" aria-label="{escape(heading)}">{svg}'.replace("xlink:href", "href")
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{prefix}", svg)
    svg = re.sub(r"font: [^;\"]*?([\d.]+)px[^;\"]*", r"font-size: \1px", svg)
    for placeholder, color in _PLACEHOLDERS.items():
        svg = svg.replace(placeholder, color)
    return svg
