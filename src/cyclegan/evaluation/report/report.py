"""``report.html``: a run on one self-contained page, without scripts or network access."""

import base64
import io
import re
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from cyclegan._version import __version__
from cyclegan.data.select import find_data_if_present
from cyclegan.diagnosis.diagnose import diagnose
from cyclegan.errors import CycleGANError
from cyclegan.evaluation import table
from cyclegan.evaluation.report.curves import QUALITY_GROUPS, build_panels
from cyclegan.evaluation.report.gallery import build_view
from cyclegan.methods.registry import method_spec
from cyclegan.runs.folder import read_run
from cyclegan.runs.metrics_files import read_metrics
from cyclegan.runs.results import REPORT_FILE, quality_sentence, write_evaluations
from cyclegan.runs.summary import headline, run_facts, saved_progress
from cyclegan.system.atomic import write_text

NAME = "report.html"
MAX_BYTES = 3_000_000
SIDES = (256, 192, 128, 96)  # longer side of images in pixels; the first with which the page is small enough


@dataclass(frozen=True)
class WrittenReport:
    """Path of the page, and a sentence on quality against ground truth for each direction that has it."""

    path: Path
    sentences: tuple[str, ...]


def write_report(run: str | Path) -> WrittenReport:
    """Write ``report.html`` in the run folder, and the measured quality as ``report.json``.

    The page names everything that is missing. Raises `UsageError` for a folder that is not a run, and `CycleGANError`
    when the page cannot be written.
    """
    run = Path(run)
    config = read_run(run)
    domains, notes = find_data_if_present(config)
    views = []
    for direction in method_spec(config.loss.method).learned(config.loss):
        view, view_notes = build_view(run, config, domains, direction)
        views.append(view)
        notes += [note for note in view_notes if note not in notes]
    quality = [view.quality for view in views if view.quality is not None]
    if quality:
        write_evaluations(quality, run / REPORT_FILE)
    diagnosis = None
    with suppress(CycleGANError, OSError):  # without a checkpoint or data, which the notes say
        diagnosis = diagnose(run)
    spec, metrics = method_spec(config.loss.method), read_metrics(run / "metrics.csv")
    names = domains.names if domains is not None else ("A", "B")
    contents = {
        "name": run.resolve().name,
        "run": shlex.quote(str(run)),
        "version": __version__,
        "method": spec,
        "notes": notes,
        "views": views,
        "headings": table.HEADINGS,
        "legend": table.LEGEND,
        "footnotes": table.footnotes([view.evaluation for view in views if view.evaluation is not None]),
        "headline": headline(config, domains, saved_progress(run)),
        "facts": run_facts(run, config, domains, metrics, [view.parameters for view in views]),
        "diagnosis": diagnosis,
        "losses": build_panels(metrics, names, spec.term_groups),
        "quality": build_panels(read_metrics(run / "quality.csv"), names, QUALITY_GROUPS, "q"),
        "config": (run / "config.toml").read_text(encoding="utf-8"),
    }
    for side in SIDES:
        page = page_environment(side).get_template(NAME).render(contents)
        if len(page) < MAX_BYTES:
            break
    write_text(run / NAME, page)
    return WrittenReport(run / NAME, tuple(map(quality_sentence, quality)))


def page_environment(side: int) -> Environment:
    """Jinja's environment for the pages, which embed images with a longer side of at most `side` pixels."""

    def data_uri(image: Image.Image) -> str:
        small, encoded = image.copy(), io.BytesIO()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        kind, settings = ("PNG", {"optimize": True}) if max(small.size) <= 96 else ("JPEG", {"quality": 88})
        small.save(encoded, kind, **settings)
        return f"data:image/{kind.lower()};base64,{base64.b64encode(encoded.getvalue()).decode()}"

    def mark_options(text: str) -> Markup:
        """The text with command-line options as code, so that they do not break at their hyphens."""
        return Markup(re.sub(r"(?<!\w)(--[a-z-]+)", r"<code>\1</code>", str(escape(text))))

    loader = PackageLoader("cyclegan.evaluation.report")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "number": table.format_number,
        "interval": table.format_interval,
        "metric_groups": table.metric_groups,
        "options": mark_options,
        "uri": data_uri,
    }
    return environment
