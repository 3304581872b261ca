"""Loss curves as SVG, drawn so that they can be read on light and on dark pages."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Generators against discriminators", ("G_A", "G_B")),
    ("Discriminators", ("D_A", "D_B")),
    ("Cycle", ("cycle_A", "cycle_B")),
    ("Identity", ("idt_A", "idt_B")),
)
COLOURS = ("#2f7fd1", "#e07a2f")
INK = "#808890"  # legible on white and on black


def read_metrics(path: Path) -> dict[str, list[float]]:
    """Columns of a ``metrics.csv``; rows that are not numbers are passed over, and a missing file has no columns."""
    columns: dict[str, list[float]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                try:
                    values = {name: float(value) for name, value in row.items()}
                except (TypeError, ValueError):
                    continue
                for name, value in values.items():
                    columns.setdefault(name, []).append(value)
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    return columns


def smoothed(values: Sequence[float], share: float = 0.03) -> np.ndarray:
    """A running mean over `share` of the values, shorter at the ends, so that no value is invented."""
    half = int(len(values) * share / 2)
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    first, last = np.maximum(at - half, 0), np.minimum(at + half + 1, len(values))
    return (total[last] - total[first]) / (last - first)


def draw_curves(metrics: dict[str, list[float]]) -> str:
    """An ``<svg>`` with one panel for each group of losses, over the steps; empty when there is nothing to draw."""
    from matplotlib.figure import Figure

    groups = [(title, [n for n in names if n in metrics]) for title, names in GROUPS]
    groups = [(title, names) for title, names in groups if names]
    if not groups or len(metrics["step"]) < 2:
        return ""
    figure = Figure(figsize=(9.6, 2.5 * ((len(groups) + 1) // 2)), layout="constrained")
    panels = figure.subplots((len(groups) + 1) // 2, 2, squeeze=False).flatten()
    for panel, (title, names) in zip(panels, groups, strict=False):
        for name, colour in zip(names, COLOURS, strict=False):
            values = metrics[name][: len(metrics["step"])]
            panel.plot(metrics["step"], values, color=colour, alpha=0.25, linewidth=0.8)
            panel.plot(metrics["step"], smoothed(values), color=colour, linewidth=1.8, label=name)
        panel.set_title(title, fontsize=10, color=INK, loc="left")
        panel.legend(frameon=False, fontsize=8, labelcolor=INK)
        panel.tick_params(colors=INK, labelsize=8)
        panel.grid(color=INK, alpha=0.2, linewidth=0.6)
        panel.spines[:].set_visible(False)
        panel.set_ylim(bottom=0 if min(min(metrics[n]) for n in names) >= 0 else None)
    for panel in panels[len(groups) :]:
        panel.set_visible(False)
    text = io.StringIO()
    figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return text.getvalue()[text.getvalue().index("<svg") :]
