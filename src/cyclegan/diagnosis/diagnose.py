"""Diagnosing a run: collecting the evidence, running all checks, and summarizing their findings."""

from dataclasses import dataclass
from pathlib import Path

from cyclegan.data.select import find_data
from cyclegan.diagnosis import image_checks, training_checks
from cyclegan.diagnosis.checks import CERTAINTIES, Certainty, Check, Finding
from cyclegan.diagnosis.evidence import Evidence, collect_evidence, weight_rms
from cyclegan.diagnosis.samples import HELD_OUT, initial_weight_rms, read_samples
from cyclegan.diagnosis.statistics import layout_agreement
from cyclegan.errors import CycleGANError
from cyclegan.methods.registry import build_method
from cyclegan.runs.folder import read_run
from cyclegan.runs.metrics_files import read_metrics
from cyclegan.runs.model import read_model
from cyclegan.runs.summary import saved_progress
from cyclegan.system.machine import find_device
from cyclegan.system.text import counted

NO_ISSUES = "No issues were found. This does not measure quality; for that, run: cyclegan evaluate {}"

# Causes before effects. Bounds were set on healthy and sabotaged runs on the built-in data set and tested on others;
# docs/reading-the-curves.md has the detection rates.
CHECKS: tuple[Check, ...] = (
    training_checks.learning_rate_too_high,
    image_checks.saturated,
    image_checks.input_ignored,
    image_checks.input_copied,
    training_checks.discriminator_won,
    image_checks.colors_inverted,
    image_checks.channels_permuted,
    image_checks.framed_differently,
    image_checks.information_hidden,
    training_checks.discriminator_overfits,
    training_checks.identity_too_strong,
    image_checks.checkerboard,
    training_checks.history_too_small,
    training_checks.history_too_large,
    training_checks.ended_too_early,
)


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


def diagnose(run: str | Path, *, device: str = "auto") -> Diagnosis:
    """Diagnose a run from its latest checkpoint, its losses and its data.

    Raises `UsageError` for a folder that is not a run, has no checkpoint, or whose data is missing, and `CycleGANError`
    when none of its images can be read.
    """
    evidence = read_evidence(Path(run), device)
    a, b = evidence.image_counts
    found = run_checks(evidence)
    issues = []
    for name in dict.fromkeys(finding.issue for finding in found):
        same = [finding for finding in found if finding.issue == name]
        observations = tuple((finding.direction, finding.observation) for finding in same)
        issues.append(Issue(name, same[0].certainty, observations, same[0].advice))
    return Diagnosis(
        f"Checked a run of {counted(evidence.step, 'step')} ({evidence.progress:.0%} of the schedule), trained on "
        f"{a:,} and {b:,} images, for {len(CHECKS)} common issues.",
        tuple(issues),
    )


def run_checks(evidence: Evidence, *, in_progress: bool = False) -> list[Finding]:
    """All findings, the most certain first; of equally certain ones, causes before effects.

    Having ended too early is not reported for a run in progress, nor next to a certain issue, since continuing would
    not help.
    """
    found = [finding for check in CHECKS for finding in check(evidence)]
    others = [finding for finding in found if finding.issue != training_checks.ENDED_TOO_EARLY]
    if in_progress or any(finding.certainty == "certain" for finding in others):
        found = others
    return sorted(found, key=lambda finding: -CERTAINTIES.index(finding.certainty))


def read_evidence(run: Path, device: str = "auto") -> Evidence:
    """The evidence of a run folder. Raises as `diagnose`."""
    config = read_run(run)
    domains = find_data(config)
    model = read_model(run)
    method = build_method(config, seed=0).to(find_device(device))
    try:
        method.load_state_dict(method.state_dict() | model.weights)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CycleGANError(f"The weights in {run} do not match its config.toml ({reason}).") from None
    samples = read_samples(config, domains, HELD_OUT)
    if samples is None:
        raise CycleGANError(f"None of the training images of {run} can be read.")
    metrics, saved = read_metrics(run / "metrics.csv"), saved_progress(run)
    return Evidence(
        config=config,
        metrics=metrics,
        directions=collect_evidence(method, method.generators, samples),
        image_counts=(len(domains.train.a), len(domains.train.b)),
        names=domains.names,
        step=saved[0] if saved else 0,
        progress=metrics.get("progress", [1.0])[-1],  # a run without a row of metrics is complete
        weight_growth=weight_rms(method) / initial_weight_rms(config),
        layout_agreement=layout_agreement(samples.train["A"], samples.train["B"]),
    )
