"""What the doctor finds: an issue, how sure that is, what shows it, and what helps."""

from dataclasses import dataclass
from typing import Literal

from cyclegan.diagnosis.evidence import DirectionEvidence, Evidence

Certainty = Literal["perhaps", "likely", "certain"]
CERTAINTIES: tuple[Certainty, ...] = ("perhaps", "likely", "certain")


@dataclass(frozen=True)
class Finding:
    """An issue that was found: what shows it, in which direction ("summer to winter", or ""), and what helps."""

    issue: str
    certainty: Certainty
    direction: str
    seen: str
    advice: str


def graded(value: float, perhaps: float, likely: float, certain: float) -> Certainty | None:
    """How sure a value makes: None before the first bound. Bounds may fall, for values that are bad if low."""
    sign = 1 if certain > perhaps else -1
    reached = [
        name
        for name, bound in zip(CERTAINTIES, (perhaps, likely, certain), strict=True)
        if sign * value >= sign * bound
    ]
    return reached[-1] if reached else None


def way(evidence: Evidence, side: DirectionEvidence) -> str:
    """A direction by the domains' names."""
    source, target = evidence.names if side.direction == "AtoB" else evidence.names[::-1]
    return f"{source} to {target}"
