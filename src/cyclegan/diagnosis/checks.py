"""What a check is: a function of the evidence that finds an issue, with a certainty, an observation and advice."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from cyclegan.config.schema import Config
from cyclegan.diagnosis.evidence import DirectionEvidence, Evidence

Certainty = Literal["perhaps", "likely", "certain"]
PAPER = Config()  # the paper's settings, for advice
CERTAINTIES: tuple[Certainty, ...] = ("perhaps", "likely", "certain")


@dataclass(frozen=True)
class Finding:
    """An issue in one direction ("summer to winter"), or in the whole run ("")."""

    issue: str
    certainty: Certainty
    direction: str
    observation: str
    advice: str


Result = tuple[Certainty | None, str, str] | None  # certainty, observation, advice; None if not applicable
Check = Callable[[Evidence], Iterator[Finding]]


def run_check(issue: str) -> Callable[[Callable[[Evidence], Result]], Check]:
    """Make a check of a function of the evidence of a whole run."""

    def decorate(function: Callable[[Evidence], Result]) -> Check:
        def check(evidence: Evidence) -> Iterator[Finding]:
            certainty, observation, advice = function(evidence) or (None, "", "")
            if certainty:
                yield Finding(issue, certainty, "", observation, advice)

        return check

    return decorate


def direction_check(issue: str) -> Callable[[Callable[[Evidence, DirectionEvidence], Result]], Check]:
    """Make a check of a function of the evidence and one of its directions."""

    def decorate(function: Callable[[Evidence, DirectionEvidence], Result]) -> Check:
        def check(evidence: Evidence) -> Iterator[Finding]:
            for each in evidence.directions:
                certainty, observation, advice = function(evidence, each) or (None, "", "")
                if certainty:
                    source, target = evidence.names if each.direction == "AtoB" else evidence.names[::-1]
                    yield Finding(issue, certainty, f"{source} to {target}", observation, advice)

        return check

    return decorate


def grade(value: float, perhaps: float, likely: float, certain: float) -> Certainty | None:
    """The certainty whose bound the value reaches, None before the first. Bounds may fall, if low values are bad."""
    sign = 1 if certain > perhaps else -1
    bounds = zip(CERTAINTIES, (perhaps, likely, certain), strict=True)
    return next((name for name, bound in reversed([*bounds]) if sign * value >= sign * bound), None)
