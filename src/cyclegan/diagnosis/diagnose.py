"""Diagnosing a run, or a method during training: collecting the evidence, running all checks, and summarizing them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from cyclegan.config.schema import Config, Direction
from cyclegan.data.layouts import DataFiles
from cyclegan.data.select import find_data, require_data
from cyclegan.diagnosis.checks import CHECKS, Certainty, run_checks
from cyclegan.diagnosis.evidence import (
    HELD_OUT,
    HELD_OUT_IN_TRAINING,
    DirectionEvidence,
    Distance,
    Evidence,
    Metrics,
    collect_evidence,
    initial_weight_rms,
    read_samples,
    weight_rms,
)
from cyclegan.diagnosis.statistics import layout_agreement
from cyclegan.errors import CycleGANError
from cyclegan.methods.method import Method, build_method
from cyclegan.metrics.intervals import MetricValue
from cyclegan.runs.folder import read_run
from cyclegan.runs.metrics_files import NOT_FINITE, read_messages, read_metrics
from cyclegan.runs.model import read_model
from cyclegan.runs.results import EVALUATION_FILE, read_evaluations, target_distance
from cyclegan.runs.summary import saved_progress
from cyclegan.system.machine import find_device
from cyclegan.system.text import counted, quote

NO_ISSUES = "No issues were found. This does not measure quality; for that, run: cyclegan evaluate {}"


class Diagnostics:
    """Runs the checks during training and reports an issue once, as soon as two consecutive checks find it.

    Issues found only once are often transient: early in training, discriminators win for a while.
    """

    def __init__(self, config: Config, domains: DataFiles, held_out: int = HELD_OUT_IN_TRAINING):
        self.config, self.domains = config, domains
        self.samples = read_samples(config, domains, held_out)
        self.layout = layout_agreement(self.samples.train["A"], self.samples.train["B"]) if self.samples else None
        self.initial_weights = initial_weight_rms(config)
        self.found_before: set[str] = set()
        self.reported: set[str] = set()

    def collect(
        self, method: Method, generators: nn.ModuleDict, metrics: Metrics, *, step: int, progress: float, thorough: bool
    ) -> Evidence | None:
        """The evidence for the checks; None when none of the images can be read.

        Arguments as for `collect_evidence` and `Evidence`.
        """
        if self.samples is None:
            return None
        return Evidence(
            config=self.config,
            metrics=metrics,
            directions=collect_evidence(method, generators, self.samples, thorough=thorough),
            image_counts=(len(self.domains.train.a), len(self.domains.train.b)),
            names=self.domains.names,
            step=step,
            progress=progress,
            weight_growth=weight_rms(method) / self.initial_weights,
            layout_agreement=self.layout,
        )

    def check(self, evidence: Evidence | None) -> list[str]:
        """One sentence for each new issue that is at least likely and was also found by the previous check."""
        checked = [] if evidence is None else run_checks(evidence, in_progress=True)
        found = {f.issue: f for f in reversed(checked) if f.certainty != "perhaps"}
        new = [f for issue, f in found.items() if issue in self.found_before and issue not in self.reported]
        self.found_before = set(found)
        self.reported |= {f.issue for f in new}
        return [
            f"{f.issue} ({f'{f.direction}, ' if f.direction else ''}{f.certainty}): {f.observation} {f.advice}"
            for f in new
        ]


@dataclass(frozen=True)
class Issue:
    """One issue with everything that was observed, and advice."""

    name: str
    certainty: Certainty
    observations: tuple[tuple[str, str], ...]  # direction ("" if it concerns the whole run) and text
    advice: str


@dataclass(frozen=True)
class Diagnosis:
    """What was examined, in one sentence, and the issues found, the most certain first."""

    summary: str
    issues: tuple[Issue, ...]


def _with_stored(
    direction: DirectionEvidence, stored: Mapping[Direction, tuple[str, MetricValue] | None]
) -> DirectionEvidence:
    """The evidence with the distance that ``cyclegan evaluate`` measured from more images, if it did."""
    name, value = stored.get(direction.direction) or ("", None)
    if value is None:
        return direction
    return replace(direction, distance=Distance(name, value.value, value.untranslated or 0.0))


def diagnose(run: str | Path, data: str | Path | None = None, *, device: str = "auto") -> Diagnosis:
    """Diagnose a run from its latest checkpoint, its losses and its data; `data` is its folder, if it has moved.

    Raises `UsageError` for a folder that is not a run, has no checkpoint, or whose data is missing, and `CycleGANError`
    when none of its images can be read.
    """
    run = Path(run)
    config = read_run(run)
    if data is None:
        require_data(config, run, f"cyclegan diagnose {quote(run)} --data FOLDER")
    else:
        config = config.with_settings(data=Path(data), a=None, b=None)
    domains, model = find_data(config), read_model(run)
    method = build_method(config, seed=0).to(find_device(device))
    try:
        method.load_state_dict(method.state_dict() | model.weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CycleGANError(f"The weights in {run} do not match its config.toml ({reason}).") from None
    metrics, (step, _) = read_metrics(run / "metrics.csv"), saved_progress(run) or (0, 0.0)
    progress = 1.0  # a run without a row of metrics is complete
    if metrics.get("progress"):  # the last row may be some steps before the checkpoint
        progress = min(1.0, metrics["progress"][-1] * step / max(1.0, metrics["step"][-1]))
    method.progress = progress
    diagnostics = Diagnostics(config, domains, HELD_OUT)
    evidence = diagnostics.collect(method, method.generators, metrics, step=step, progress=progress, thorough=True)
    if evidence is None:
        raise CycleGANError(f"None of the training images of {run} can be read.")
    stored = {e.direction: target_distance(e) for e in read_evaluations(run / EVALUATION_FILE) if e.step == step}
    ends = [at for at, text in read_messages(run / "messages.jsonl") if text.startswith(NOT_FINITE) and at > step]
    directions = tuple(_with_stored(each, stored) for each in evidence.directions)
    evidence = replace(evidence, directions=directions, not_finite=max(ends, default=None))
    found, issues = run_checks(evidence), []
    for name in dict.fromkeys(finding.issue for finding in found):
        same = [finding for finding in found if finding.issue == name]
        observations = tuple((finding.direction, finding.observation) for finding in same)
        issues.append(Issue(name, same[0].certainty, observations, same[0].advice))
    a, b = evidence.image_counts
    return Diagnosis(
        f"Checked a run of {counted(step, 'step')} ({progress:.0%} of the schedule), trained on {a:,} and {b:,} "
        f"images, for {len(CHECKS)} common issues.",
        tuple(issues),
    )
