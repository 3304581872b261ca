"""The doctor's visits to a training: a shorter examination than that of `cyclegan diagnose`, on fewer images."""

from pathlib import Path

from cyclegan.config.schema import Config
from cyclegan.data.layouts import Domains
from cyclegan.diagnosis.checks import findings
from cyclegan.diagnosis.evidence import Evidence, look, weight_size
from cyclegan.diagnosis.samples import HELD_OUT_AT_WORK, samples_of, starting_size
from cyclegan.diagnosis.statistics import layout_agreement
from cyclegan.runs.metrics_files import read_metrics
from cyclegan.training.loggers import Progress
from cyclegan.training.step import Training


class Doctor:
    """Looks at a training now and then, and speaks up when it sees the same illness at two visits.

    What is seen only once is often gone at the next visit: early in a training, discriminators win for a while.
    """

    def __init__(self, config: Config, domains: Domains):
        self.config, self.domains = config, domains
        self.samples = samples_of(config, domains, HELD_OUT_AT_WORK)
        self.layout = layout_agreement(self.samples.train["A"], self.samples.train["B"]) if self.samples else None
        self.started = starting_size(config)
        self.seen: set[str] = set()
        self.said: set[str] = set()

    def visit(self, training: Training, run: Path, progress: Progress) -> list[str]:
        """A sentence for each illness that is at least likely, was seen at the last visit too, and is news."""
        if self.samples is None:
            return []
        with training.fabric.autocast():
            evidence = Evidence(
                config=self.config,
                metrics=read_metrics(run / "metrics.csv"),
                sides=look(training.method, training.generators, self.samples, thorough=False),
                images=(len(self.domains.train.a), len(self.domains.train.b)),
                names=self.domains.names,
                step=progress.step,
                share=progress.share,
                growth=weight_size(training.method) / self.started,
                layout=self.layout,
            )
        found = {f.illness: f for f in reversed(findings(evidence, at_work=True)) if f.certainty != "perhaps"}
        news = [f for illness, f in found.items() if illness in self.seen and illness not in self.said]
        self.seen = set(found)
        self.said |= {f.illness for f in news}
        return [
            f"{f.illness} ({', '.join(filter(None, (f.direction, f.certainty)))}): {f.seen} {f.advice}" for f in news
        ]
