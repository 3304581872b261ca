"""All that can be wrong with a training: fifteen issues, each by what it shows, how sure that is, and what helps.

Their bounds were set on healthy and sabotaged trainings on the built-in data set, and tried on others; the table of how
often each is recognized stands in docs/reading-the-curves.md.
"""

from collections.abc import Callable, Iterator

from cyclegan.diagnosis import image_checks as in_images
from cyclegan.diagnosis import training_checks as in_training
from cyclegan.diagnosis.evidence import Evidence
from cyclegan.diagnosis.finding import CERTAINTIES, Finding

# Causes before what they bring about.
CHECKS: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    in_training.learning_rate_too_high,
    in_images.saturated,
    in_images.input_ignored,
    in_images.input_copied,
    in_training.discriminator_won,
    in_images.colors_inverted,
    in_images.channels_permuted,
    in_images.framed_differently,
    in_images.information_hidden,
    in_training.discriminator_overfits,
    in_training.identity_too_strong,
    in_images.checkerboard,
    in_training.history_too_small,
    in_training.history_too_large,
    in_training.ended_too_early,
)


def run_checks(evidence: Evidence, *, in_progress: bool = False) -> list[Finding]:
    """All issues that show, the surest first; of equally sure ones, causes before what they bring about.

    Whether it ended too early is not asked of a training `in_progress`, nor of one with a certain issue, since it would
    not help to go on.
    """
    found = [finding for look_for in CHECKS for finding in look_for(evidence)]
    others = [finding for finding in found if finding.issue != in_training.TOO_EARLY]
    if in_progress or any(finding.certainty == "certain" for finding in others):
        found = others
    return sorted(found, key=lambda finding: -CERTAINTIES.index(finding.certainty))
