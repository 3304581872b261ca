"""Figures of loss curves and translations of sabotaged runs, for ``docs/reading-the-curves.md``."""

from collections.abc import Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from cyclegan import Translator
from cyclegan.evaluation.report.curves import smooth
from cyclegan.imaging.decode import read_image
from cyclegan.imaging.image import to_image, to_tensor
from cyclegan.runs.folder import read_run
from cyclegan.runs.metrics_files import read_metrics

CURVES = {  # headings by variant
    "healthy": "Healthy",
    "won": "Discriminator has won",
    "overfit": "Discriminator overfits",
    "collapse": "Input ignored",
    "inverted": "Colors inverted",
    "rate": "Learning rate too high",
}
PANELS = {  # loss terms and the upper limit of the axis
    "Generators, adversarial": (("G_A", "G_B"), 1.0),
    "Discriminators": (("D_A", "D_B"), 0.5),
    "Cycle": (("cycle_A", "cycle_B"), 0.4),
}
COLORS = ("#1f6f8b", "#b8562a")
TRANSLATIONS = {
    "healthy": "healthy",
    "early": "ended too early",
    "copy": "input copied",
    "collapse": "input ignored",
    "saturated": "saturated",
    "checkerboard": "checkerboard",
    "inverted": "colors inverted",
    "permuted": "channels permuted",
    "framing": "framed differently",
    "hidden": "information hidden",
    "won": "discriminator won",
    "rate": "rate too high",
}
CELL, GAP, LABEL, SHOWN = 96, 4, 148, (0, 5, 10)


def draw_curves(runs: Path, seed: int = 0) -> Figure:
    """A row per run, a column per kind of loss, divided by its weight; panels with a larger scale are gray."""
    figure = Figure(figsize=(9.6, 1.75 * len(CURVES)), layout="constrained", dpi=110)
    axes = figure.subplots(len(CURVES), len(PANELS), squeeze=False)
    for row, (name, heading) in zip(axes, CURVES.items(), strict=True):
        run = runs / f"{name}-{seed}"
        metrics, loss = read_metrics(run / "metrics.csv"), read_run(run).loss
        weights = {"G_A": loss.lambda_gan, "G_B": loss.lambda_gan, "cycle_A": loss.lambda_a, "cycle_B": loss.lambda_b}
        row[0].set_ylabel(heading, fontsize=9)
        for panel, (terms, height) in zip(row, PANELS.values(), strict=True):
            curves = [[value / (weights.get(term, 1.0) or 1.0) for value in metrics[term]] for term in terms]
            _draw(panel, metrics["step"], curves, height)
    for panel, heading in zip(axes[0], PANELS, strict=True):
        panel.set_title(heading, fontsize=10)
    return figure


def _draw(panel: Axes, steps: Sequence[float], curves: Sequence[Sequence[float]], height: float) -> None:
    for values, color in zip(curves, COLORS, strict=True):
        panel.plot(steps, values, color=color, linewidth=0.7, alpha=0.35)
        panel.plot(steps, smooth(values), color=color, linewidth=1.6)
    rest = [sorted(values[len(values) // 5 :]) for values in curves]
    usual = max(values[-1 - len(values) // 10] for values in rest)
    panel.set_ylim(0, height if usual < 1.5 * height else None)
    if usual >= 1.5 * height:
        panel.set_facecolor("#eeeeee")
    panel.set_xlim(0, max(steps))
    panel.tick_params(labelsize=7, length=2)
    panel.spines[["top", "right"]].set_visible(False)


def draw_translations(runs: Path, seed: int = 0) -> Image.Image:
    """Three test scenes translated from summer to winter by each run."""
    width = LABEL + len(SHOWN) * (2 * CELL + 3 * GAP)
    sheet = Image.new("RGB", (width, len(TRANSLATIONS) * (CELL + GAP) - GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for row, (name, heading) in enumerate(TRANSLATIONS.items()):
        top = row * (CELL + GAP)
        pen.text((LABEL - 12, top + CELL / 2), heading, fill="black", font=font, anchor="rm")
        for number, pair in enumerate(_translated(runs / f"{name}-{seed}")):
            for column, image in enumerate(pair):
                left = LABEL + number * (2 * CELL + 3 * GAP) + column * CELL
                sheet.paste(image.resize((CELL, CELL), Image.Resampling.LANCZOS), (left, top))
    return sheet


def _translated(run: Path) -> list[tuple[Image.Image, Image.Image]]:
    data = read_run(run).data.data
    assert data is not None, "sabotaged runs have one data folder"
    files = sorted((data / "testA").iterdir())
    inputs = torch.stack([to_tensor(read_image(files[number])) for number in SHOWN])
    made = Translator.load(run, "AtoB").translate(inputs)
    return [(to_image(before), to_image(after)) for before, after in zip(inputs, made, strict=True)]
