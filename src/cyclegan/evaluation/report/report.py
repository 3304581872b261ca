"""``report.html``: a run on one page that needs neither network nor script, to look at and to show to others."""

import base64
import io
import re
import shlex
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from cyclegan._version import __version__
from cyclegan.config.schema import Config
from cyclegan.data.layouts import DataFiles
from cyclegan.data.select import find_data_if_present
from cyclegan.diagnosis.diagnose import Diagnosis, diagnose
from cyclegan.errors import CycleGANError
from cyclegan.evaluation import table
from cyclegan.evaluation.paired import Paired
from cyclegan.evaluation.report.curves import QUALITY_GROUPS, panels
from cyclegan.evaluation.report.gallery import View, look
from cyclegan.methods.registry import method_spec
from cyclegan.runs import summary as words
from cyclegan.runs.folder import read_run
from cyclegan.runs.metrics_files import read_metrics
from cyclegan.system.atomic import write_text

NAME = "report.html"
MOST_BYTES = 3_000_000
SIDES = (256, 192, 128, 96)  # pixels to which pictures are reduced, until the page is small enough


@dataclass(frozen=True)
class Written:
    """Where the report is, and one sentence a direction with its quality; none where there is no truth."""

    path: Path
    sentences: tuple[str, ...]


def write_report(run: str | Path) -> Written:
    """Write ``report.html`` in the run folder, of whatever there is; the page says what is missing.

    Raises `UsageError` for a folder that is no run, and `CycleGANError` when the page cannot be written.
    """
    run = Path(run)
    config = read_run(run)
    domains, notes = find_data_if_present(config)
    views = []
    for direction in method_spec(config.loss.method).learned(config.loss):
        view, remarks = look(run, config, domains, direction)
        views.append(view)
        notes += [remark for remark in remarks if remark not in notes]
    page = _small_enough(_contents(run, config, domains, views) | {"notes": notes})
    write_text(run / NAME, page)
    return Written(run / NAME, tuple(sentence(view, view.paired) for view in views if view.paired is not None))


def _contents(run: Path, config: Config, domains: DataFiles | None, views: list[View]) -> dict[str, Any]:
    metrics = read_metrics(run / "metrics.csv")
    names = domains.names if domains is not None else ("A", "B")
    return {
        "name": run.resolve().name,
        "run": shlex.quote(str(run)),
        "version": __version__,
        "method": method_spec(config.loss.method),
        "views": views,
        "headings": table.HEADINGS,
        "legend": table.LEGEND,
        "remarks": table.remarks([view.evaluation for view in views if view.evaluation is not None]),
        "lead": words.lead(config, domains, words.progress(run)),
        "facts": words.facts(run, config, domains, metrics, [view.parameters for view in views]),
        "diagnosis": _diagnosis(run),
        "panels": panels(metrics, names, method_spec(config.loss.method).term_groups),
        "quality": panels(read_metrics(run / "quality.csv"), names, QUALITY_GROUPS, "q"),
        "config": (run / "config.toml").read_text(encoding="utf-8"),
    }


def _diagnosis(run: Path) -> Diagnosis | None:
    """What the doctor says; None where there is nothing to look at, which the page says elsewhere."""
    try:
        return diagnose(run)
    except (CycleGANError, OSError):
        return None


def _small_enough(contents: dict[str, Any]) -> str:
    """The page with its pictures as large as the limit of its size allows."""
    environment = Environment(
        loader=PackageLoader("cyclegan.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure
    environment.filters["groups"] = table.groups
    environment.filters["options"] = options
    page = ""
    for side in SIDES:
        environment.filters["uri"] = partial(data_uri, side=side)
        page = environment.get_template(NAME).render(contents)
        if len(page) < MOST_BYTES:
            break
    return page


def data_uri(image: Image.Image, side: int) -> str:
    """The image, its longer side at most `side` pixels, as a data URI: PNG when small, JPEG otherwise."""
    small = image.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    kind, settings = ("PNG", {"optimize": True}) if max(small.size) <= 96 else ("JPEG", {"quality": 88})
    encoded = io.BytesIO()
    small.save(encoded, kind, **settings)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(encoded.getvalue()).decode()}"


def figure(value: float, digits: int) -> str:
    """A number to so many digits, with a true minus sign."""
    return "∞" if value == float("inf") else f"{value:.{digits}f}".replace("-", "−")


def options(text: str) -> Markup:
    """The text with the command's options as code, which is not broken at its hyphens."""
    return Markup(re.sub(r"(?<!\w)(--[a-z-]+)", r"<code>\1</code>", str(escape(text))))


def sentence(view: View, paired: Paired) -> str:
    """The quality of a direction against truth."""
    images = "1 test image" if paired.images == 1 else f"{paired.images} test images"
    return (
        f"{view.source} to {view.target}: PSNR {paired.psnr:.1f} dB, SSIM {paired.ssim:.2f} against truth on {images} "
        f"(untranslated input: {paired.baseline_psnr:.1f} dB, {paired.baseline_ssim:.2f})."
    )
