"""Diagnostics during training: a shorter version of `cyclegan diagnose`, on fewer images."""

from collections.abc import Mapping

from torch import nn

from cyclegan.config.schema import Config
from cyclegan.data.layouts import DataFiles
from cyclegan.diagnosis.diagnose import run_checks
from cyclegan.diagnosis.evidence import Evidence, collect_evidence, weight_rms
from cyclegan.diagnosis.samples import HELD_OUT_IN_TRAINING, initial_weight_rms, read_samples
from cyclegan.diagnosis.statistics import layout_agreement
from cyclegan.methods.method import Method


class Diagnostics:
    """Runs the checks during training and reports an issue once, as soon as two consecutive checks find it.

    Issues found only once are often transient: early in training, discriminators win for a while.
    """

    def __init__(self, config: Config, domains: DataFiles):
        self.config, self.domains = config, domains
        self.samples = read_samples(config, domains, HELD_OUT_IN_TRAINING)
        self.layout = layout_agreement(self.samples.train["A"], self.samples.train["B"]) if self.samples else None
        self.initial_weights = initial_weight_rms(config)
        self.found_before: set[str] = set()
        self.reported: set[str] = set()

    def check(
        self,
        method: Method,
        generators: nn.ModuleDict,
        metrics: Mapping[str, list[float]],
        *,
        step: int,
        progress: float,
    ) -> list[str]:
        """One sentence for each new issue that is at least likely and was also found by the previous check.

        `generators` are those that translate (the averaged ones with EMA), `metrics` the columns of metrics.csv, and
        `progress` the completed fraction of the schedule.
        """
        if self.samples is None:
            return []
        evidence = Evidence(
            config=self.config,
            metrics=metrics,
            directions=collect_evidence(method, generators, self.samples, thorough=False),
            image_counts=(len(self.domains.train.a), len(self.domains.train.b)),
            names=self.domains.names,
            step=step,
            progress=progress,
            weight_growth=weight_rms(method) / self.initial_weights,
            layout_agreement=self.layout,
        )
        found = {f.issue: f for f in reversed(run_checks(evidence, in_progress=True)) if f.certainty != "perhaps"}
        new = [f for issue, f in found.items() if issue in self.found_before and issue not in self.reported]
        self.found_before = set(found)
        self.reported |= {f.issue for f in new}
        return [
            f"{f.issue} ({f'{f.direction}, ' if f.direction else ''}{f.certainty}): {f.observation} {f.advice}"
            for f in new
        ]
