"""The doctor's visits to a training: a shorter examination than that of `cyclegan diagnose`, on fewer images."""

from collections.abc import Iterator
from pathlib import Path

import torch

from cyclegan.config import Config
from cyclegan.data.datasets import readings
from cyclegan.data.folders import Domain, Domains, paired_by_name
from cyclegan.data.images import Source
from cyclegan.diagnosis.evidence import Evidence, Samples, look, weight_size
from cyclegan.diagnosis.illnesses import findings
from cyclegan.diagnosis.symptoms import layout_agreement
from cyclegan.methods import build_method
from cyclegan.methods.method import Batch
from cyclegan.training.monitor import Progress, read_metrics
from cyclegan.training.samples import evenly, fixed_images
from cyclegan.training.state import Training

TRAIN, HELD_OUT = 64, 16  # images of each domain that an examination looks at; only the latter are translated
HELD_OUT_AT_WORK = 8  # during a training, which should not wait for it


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


def starting_size(config: Config) -> float:
    """The size of the generators' weights as a training with this configuration draws them."""
    with torch.random.fork_rng([]):
        torch.manual_seed(config.run.seed)
        return weight_size(build_method(config, seed=0))


def samples_of(config: Config, domains: Domains, held_out: int) -> Samples | None:
    """Images of both domains to look at, `held_out` of them to translate; None when none can be read."""
    train, test = (_batch(config, d, n) for d, n in ((domains.train, TRAIN), (domains.test, held_out)))
    if not train:
        return None
    pairs = bool(paired_by_name(domains.test if test else domains.train))
    few = test or {name: images[:held_out] for name, images in train.items()}
    return Samples(train, few, unseen=bool(test), pairs=pairs)


def _batch(config: Config, domain: Domain, count: int) -> Batch:
    """Images of both domains, equally many, in pairs where there are any; empty without images."""
    columns = list(_columns(config, domain, count))
    if len(columns) < 2:
        return {}
    fewest = min(map(len, columns))
    return {name: images[:fewest] for name, images in zip("AB", columns, strict=True)}


def _columns(config: Config, domain: Domain, count: int) -> Iterator[torch.Tensor]:
    ways, size = readings(config.data), config.data.crop_size
    pairs: list[tuple[Source, ...]] = [*paired_by_name(domain)]
    if pairs:
        yield from fixed_images(evenly(pairs, count), count, size, [ways["A"], ways["B"]])
        return
    for files, way in ((domain.a, ways["A"]), (domain.b, ways["B"])):
        yield from fixed_images(evenly([(path,) for path in files], count), count, size, [way])
