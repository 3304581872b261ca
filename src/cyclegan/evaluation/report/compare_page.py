"""The page that shows several runs side by side on the same images."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from cyclegan.data.datasets import decode_specs
from cyclegan.data.layouts import DataFiles
from cyclegan.data.samples import evenly_spaced
from cyclegan.data.select import find_data, is_paired
from cyclegan.evaluation.compare import LEGEND, SHOWN, SIDE, Comparison, labels, rows
from cyclegan.evaluation.evaluate import configuration
from cyclegan.evaluation.report.report import data_uri
from cyclegan.evaluation.test_sets import Sets, gather, turned
from cyclegan.imaging.image import to_image
from cyclegan.system.atomic import write_text
from cyclegan.translation.translator import Translator


def write_page(comparisons: Sequence[Comparison], runs: Sequence[Path], data: Path | None, file: Path) -> None:
    """Write one HTML file with the tables, and the same inputs translated by every run. Raises `CycleGANError`."""
    views = [
        {
            "title": f"{c.evaluations[0].source} → {c.evaluations[0].target}",
            "rows": rows(c),
            "pictures": pictures(c, runs, data),
        }
        for c in comparisons
    ]
    environment = Environment(
        loader=PackageLoader("cyclegan.evaluation.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["uri"] = partial(data_uri, side=SIDE)
    text = environment.get_template("compare.html").render(names=labels(runs), views=views, legend=LEGEND)
    write_text(file, text)


def pictures(comparison: Comparison, runs: Sequence[Path], data: Path | None) -> list[list[tuple[str, Image.Image]]]:
    """A row an input, evenly chosen: the input, what each run makes of it, and the truth if it is known."""
    config, size = configuration(runs[0], data)
    forward = comparison.direction == "AtoB"
    domains: DataFiles = find_data(config) if forward else turned(find_data(config))
    ways = [decode_specs(config.data)[domain] for domain in comparison.direction.split("to")]
    sets: Sets = gather(domains, is_paired(config), ways, size, SHOWN)
    at = torch.tensor(evenly_spaced(len(sets.inputs), SHOWN))
    columns = {"input": sets.inputs[at]}
    for name, run in zip(labels(runs), runs, strict=True):
        columns[name] = Translator.load(run, comparison.direction).translate(sets.inputs[at])
    if sets.truth is not None:
        columns["truth"] = sets.truth[at]
    return [[(name, to_image(batch[i])) for name, batch in columns.items()] for i in range(len(at))]
