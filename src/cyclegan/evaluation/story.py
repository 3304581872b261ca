"""What is told of a run where only a few words and one picture fit, as on a model card."""

from dataclasses import dataclass
from pathlib import Path

from cyclegan.evaluation import words
from cyclegan.evaluation.gallery import look
from cyclegan.evaluation.report import find_test_data, sentence
from cyclegan.methods import METHODS
from cyclegan.training.monitor import read_metrics
from cyclegan.training.run_folder import read_run


@dataclass(frozen=True)
class Story:
    """A run in words. `samples` are the newest sample grids by direction; without known truth `quality` is empty."""

    lead: str
    facts: tuple[tuple[str, str], ...]
    quality: tuple[str, ...]
    samples: dict[str, Path]


def tell(run: Path) -> Story:
    """The story of a run folder. Raises `UsageError` when it is none."""
    config = read_run(run)
    domains, _ = find_test_data(config)
    directions = METHODS[config.loss.method].learned(config.loss)
    views = [look(run, config, domains, direction)[0] for direction in directions]
    parameters = [view.parameters for view in views]
    grids = {d: sorted((run / "samples").glob(f"step-*-{d}.png")) for d in directions}
    return Story(
        words.lead(config, domains, words.progress(run)),
        tuple(words.facts(run, config, domains, read_metrics(run / "metrics.csv"), parameters)),
        tuple(sentence(view, view.paired) for view in views if view.paired is not None),
        {direction: found[-1] for direction, found in grids.items() if found},
    )
