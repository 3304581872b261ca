"""The doctor's examination of a run that is on disk, and what it found in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cyclegan.data.select import find_data
from cyclegan.diagnosis.checks import CHECKS, run_checks
from cyclegan.diagnosis.evidence import Evidence, collect_evidence, weight_rms
from cyclegan.diagnosis.finding import Certainty, Finding
from cyclegan.diagnosis.samples import HELD_OUT, initial_weight_rms, read_samples
from cyclegan.diagnosis.statistics import layout_agreement
from cyclegan.errors import CycleGANError
from cyclegan.methods.registry import build_method
from cyclegan.methods.specs import counted
from cyclegan.runs.folder import read_run
from cyclegan.runs.metrics_files import read_metrics
from cyclegan.runs.model import read_model
from cyclegan.runs.summary import saved_progress
from cyclegan.system.machine import find_device

NO_ISSUES = "No issues were found. This does not measure quality; for that, run: cyclegan evaluate {}"


@dataclass(frozen=True)
class Issue:
    """One issue: how sure it is, what shows it in which direction, and what to do."""

    name: str
    certainty: Certainty
    observations: tuple[tuple[str, str], ...]  # direction ("" if it concerns the whole run) and text
    advice: str


@dataclass(frozen=True)
class Diagnosis:
    """What was looked at, in a sentence, and all that was found, the surest first."""

    summary: str
    issues: tuple[Issue, ...]


def diagnose(run: str | Path) -> Diagnosis:
    """Examine a run by its last checkpoint, its losses and its data.

    Raises `UsageError` for a folder that is no run, has no checkpoint, or whose data is gone, and `CycleGANError` when
    none of its images can be read.
    """
    evidence = examine(Path(run))
    done = f"{counted(evidence.step, 'step')} ({evidence.progress:.0%} of the schedule)"
    a, b = evidence.images
    summary = f"Looked at {done}, learned from {a:,} and {b:,} images, for {len(CHECKS)} things that go wrong."
    return Diagnosis(summary, tuple(_issues(run_checks(evidence))))


def _issues(found: Sequence[Finding]) -> Iterator[Issue]:
    """Findings of one issue, of both directions, as one."""
    for issue in dict.fromkeys(finding.issue for finding in found):
        same = [finding for finding in found if finding.issue == issue]
        seen = tuple((finding.direction, finding.seen) for finding in same)
        yield Issue(issue, same[0].certainty, seen, same[0].advice)


def examine(run: Path) -> Evidence:
    """The evidence of a run folder. Raises as `diagnose`."""
    config = read_run(run)
    domains = find_data(config)
    model = read_model(run)
    method = build_method(config, seed=0).to(find_device("auto"))
    try:
        method.load_state_dict(method.state_dict() | model.weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CycleGANError(f"The weights in {run} do not fit its config.toml ({reason}).") from None
    samples = read_samples(config, domains, HELD_OUT)
    if samples is None:
        raise CycleGANError(f"None of the training images of {run} can be read; there is nothing to look at.")
    metrics, done = read_metrics(run / "metrics.csv"), saved_progress(run)
    return Evidence(
        config=config,
        metrics=metrics,
        sides=collect_evidence(method, method.generators, samples),
        images=(len(domains.train.a), len(domains.train.b)),
        names=domains.names,
        step=done[0] if done else 0,
        progress=metrics.get("progress", [1.0])[-1],  # of a training too short for a row, the whole
        growth=weight_rms(method) / initial_weight_rms(config),
        layout=layout_agreement(samples.train["A"], samples.train["B"]),
    )
