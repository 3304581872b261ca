"""Self-contained pages without scripts or network access: the report of a run, and the comparison of several."""

import base64
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from cyclegan._version import __version__
from cyclegan.data.select import find_data_if_present
from cyclegan.diagnosis.checks import WORSE_THAN_INPUT
from cyclegan.diagnosis.diagnose import diagnose
from cyclegan.errors import CycleGANError
from cyclegan.evaluation import compare, table
from cyclegan.evaluation.evaluate import evaluation_config
from cyclegan.evaluation.report.curves import QUALITY_GROUPS, build_panels
from cyclegan.evaluation.report.gallery import build_view
from cyclegan.evaluation.test_set import read_test_set
from cyclegan.imaging.image import to_image
from cyclegan.methods.registry import method_spec
from cyclegan.runs.folder import read_run
from cyclegan.runs.metrics_files import read_messages, read_metrics
from cyclegan.runs.results import (
    REPORT_FILE,
    evaluation_headline,
    is_worse_than_input,
    quality_sentence,
    write_evaluations,
)
from cyclegan.runs.summary import headline, run_domains, run_facts, saved_progress
from cyclegan.system.atomic import write_text
from cyclegan.system.environment import read_environments
from cyclegan.system.text import quote
from cyclegan.translation.translator import Translator

NAME = "report.html"
LIVE_NOTE = (
    "This page was written during training. For translations of test images, quality against ground truth and the "
    "diagnosis, run: cyclegan report {}"
)
MAX_BYTES = 3_000_000
SIDES = (256, 192, 128, 96)  # longer side of images in pixels; the first with which the page is small enough
COMPARISON_EXAMPLES, COMPARISON_SIDE = 12, 192  # inputs per direction, pixels


@dataclass(frozen=True)
class WrittenReport:
    """Path of the page, and sentences: quality against ground truth, and whether inputs are closer to the target."""

    path: Path
    sentences: tuple[str, ...]


def write_report(run: str | Path, *, live: bool = False) -> WrittenReport:
    """Write ``report.html`` in the run folder, and the measured quality as ``report.json``.

    With `live`, for a run that is being trained, nothing is translated, measured or diagnosed: the page has the curves,
    the stored sample images and the run's messages, and takes a second or two. The page names everything that is
    missing. Raises `UsageError` for a folder that is not a run, and `CycleGANError` when the page cannot be written.
    """
    run = Path(run)
    config = read_run(run)
    domains, notes = find_data_if_present(config)
    views = []
    for direction in method_spec(config.loss.method).learned(config.loss):
        view, view_notes = build_view(run, config, domains, direction, translate=not live)
        views.append(view)
        notes += [note for note in view_notes if note not in notes]
    quality = [view.quality for view in views if view.quality is not None]
    if quality:
        write_evaluations(quality, run / REPORT_FILE)
    diagnosis = None
    if live:
        notes += [LIVE_NOTE.format(quote(run))]
        notes += [f"Step {step:,}: {text}" for step, text in reversed(read_messages(run / "messages.jsonl"))]
    else:
        with suppress(CycleGANError, OSError):  # without a checkpoint or data, which the notes say
            diagnosis = diagnose(run)
    stored = [view.evaluation for view in views if view.evaluation is not None]
    progress = saved_progress(run)
    current = [each for each in stored if progress is not None and each.step == progress[0]]
    warnings = [evaluation_headline(each) for each in current if is_worse_than_input(each)]
    if not warnings and diagnosis is not None:
        worse = [issue for issue in diagnosis.issues if issue.name == WORSE_THAN_INPUT]
        warnings = [" ".join((*map(": ".join, issue.observations), issue.advice)) for issue in worse]
    spec, metrics = method_spec(config.loss.method), read_metrics(run / "metrics.csv")
    names = run_domains(run, domains)
    contents = {
        "name": run.resolve().name,
        "run": quote(run),
        "version": __version__,
        "method": spec,
        "notes": notes,
        "views": views,
        "headings": table.HEADINGS,
        "legend": table.LEGEND,
        "footnotes": table.footnotes(stored),
        "warnings": warnings,
        "headline": headline(run, config, domains),
        "facts": run_facts(run, config, domains, metrics, [view.parameters for view in views]),
        "diagnosis": diagnosis,
        "losses": build_panels(metrics, names, spec.term_groups),
        "quality": build_panels(read_metrics(run / "quality.csv"), names, QUALITY_GROUPS, "q"),
        "starts": read_environments(run),
        "config": (run / "config.toml").read_text(encoding="utf-8"),
    }
    for side in SIDES:
        page = _page_environment(side).get_template(NAME).render(contents)
        if len(page) < MAX_BYTES:
            break
    write_text(run / NAME, page)
    return WrittenReport(run / NAME, (*map(quality_sentence, quality), *warnings))


def write_comparison(
    comparisons: Sequence[compare.Comparison], runs: Sequence[Path], data: Path | None, file: Path, device: str = "auto"
) -> None:
    """Write an HTML page with the tables and example translations of every run. Raises `CycleGANError`."""
    config, names, views = evaluation_config(runs[0], data, "--data FOLDER"), compare.run_labels(runs), []
    for comparison in comparisons:
        direction = comparison.direction
        images = read_test_set(config, direction, config.data.crop_size, COMPARISON_EXAMPLES)
        columns = {"input": images.inputs}
        columns |= {
            n: images.pasted(Translator.load(r, direction, device).translate(images.inputs))
            for n, r in zip(names, runs, strict=True)
        }
        if images.truth is not None:
            columns["ground truth"] = images.truth
        examples = [[(n, to_image(batch[i])) for n, batch in columns.items()] for i in range(len(images.inputs))]
        views.append((" → ".join(images.domains), compare.table_rows(comparison), examples))
    template = _page_environment(COMPARISON_SIDE).get_template("compare.html")
    write_text(file, template.render(names=names, views=views, legend=compare.LEGEND))


def _page_environment(side: int) -> Environment:
    """Jinja's environment for the pages, which embed images with a longer side of at most `side` pixels."""

    def data_uri(image: Image.Image) -> str:
        small, encoded = image.copy(), io.BytesIO()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        kind, settings = ("PNG", {"optimize": True}) if max(small.size) <= 96 else ("JPEG", {"quality": 88})
        small.save(encoded, kind, **settings)
        return f"data:image/{kind.lower()};base64,{base64.b64encode(encoded.getvalue()).decode()}"

    def mark_options(text: str) -> Markup:
        """The text with command-line options as code, so that they do not break at their hyphens."""
        return Markup(re.sub(r"(?<!\w)(--[a-z-]+)", r"<code>\1</code>", str(escape(text))))  # nosec B704: escaped

    loader = PackageLoader("cyclegan.evaluation.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": table.format_number,
        "interval": table.format_interval,
        "metric_groups": table.metric_groups,
        "verdict": evaluation_headline,
        "options": mark_options,
        "uri": data_uri,
    }
    return environment
