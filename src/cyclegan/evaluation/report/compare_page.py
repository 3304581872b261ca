"""The page that shows several runs side by side on the same images."""

from collections.abc import Sequence
from pathlib import Path

from cyclegan.evaluation.compare import LEGEND, Comparison, run_labels, table_rows
from cyclegan.evaluation.evaluate import evaluation_config
from cyclegan.evaluation.report.report import page_environment
from cyclegan.evaluation.test_set import read_test_set
from cyclegan.imaging.image import to_image
from cyclegan.system.atomic import write_text
from cyclegan.translation.translator import Translator

EXAMPLES = 12  # inputs per direction
SIDE = 192  # longer side of the images in pixels


def write_comparison(
    comparisons: Sequence[Comparison], runs: Sequence[Path], data: Path | None, file: Path, device: str = "auto"
) -> None:
    """Write an HTML page with the tables and example translations of every run. Raises `CycleGANError`."""
    config, names, views = evaluation_config(runs[0], data), run_labels(runs), []
    for comparison in comparisons:
        direction = comparison.direction
        images = read_test_set(config, direction, config.data.crop_size, EXAMPLES)
        columns = {"input": images.inputs}
        columns |= {
            n: Translator.load(r, direction, device).translate(images.inputs) for n, r in zip(names, runs, strict=True)
        }
        if images.truth is not None:
            columns["ground truth"] = images.truth
        examples = [[(n, to_image(batch[i])) for n, batch in columns.items()] for i in range(len(images.inputs))]
        views.append({"title": " → ".join(images.domains), "rows": table_rows(comparison), "examples": examples})
    template = page_environment(SIDE).get_template("compare.html")
    write_text(file, template.render(names=names, views=views, legend=LEGEND))
