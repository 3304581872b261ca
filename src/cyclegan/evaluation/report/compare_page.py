"""The page that shows several runs side by side on the same images."""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from cyclegan.data.select import evenly_spaced
from cyclegan.evaluation.compare import LEGEND, Comparison, run_labels, table_rows
from cyclegan.evaluation.evaluate import evaluation_config, read_direction
from cyclegan.evaluation.report.report import page_environment
from cyclegan.imaging.image import to_image
from cyclegan.system.atomic import write_text
from cyclegan.translation.translator import Translator

EXAMPLES = 12  # inputs per direction
SIDE = 192  # longer side of the images in pixels


def write_comparison(
    comparisons: Sequence[Comparison], runs: Sequence[Path], data: Path | None, file: Path, device: str = "auto"
) -> None:
    """Write an HTML page with the tables and example translations of every run. Raises `CycleGANError`."""
    views = [
        {
            "title": f"{c.evaluations[0].source} → {c.evaluations[0].target}",
            "rows": table_rows(c),
            "examples": _translate_examples(c, runs, data, device),
        }
        for c in comparisons
    ]
    template = page_environment(SIDE).get_template("compare.html")
    write_text(file, template.render(names=run_labels(runs), views=views, legend=LEGEND))


def _translate_examples(
    comparison: Comparison, runs: Sequence[Path], data: Path | None, device: str
) -> list[list[tuple[str, Image.Image]]]:
    """A row per input, evenly spaced: the input, each run's translation, and the ground truth if known."""
    images, _ = read_direction(evaluation_config(runs[0], data), comparison.direction, None, EXAMPLES)
    chosen = torch.tensor(evenly_spaced(len(images.inputs), EXAMPLES))
    columns = {"input": images.inputs[chosen]}
    for name, run in zip(run_labels(runs), runs, strict=True):
        columns[name] = Translator.load(run, comparison.direction, device).translate(images.inputs[chosen])
    if images.truth is not None:
        columns["ground truth"] = images.truth[chosen]
    return [[(name, to_image(batch[i])) for name, batch in columns.items()] for i in range(len(chosen))]
