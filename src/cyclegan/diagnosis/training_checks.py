"""Issues that show in how the networks learn: in losses, weights, gradients and what discriminators say."""

import math
import statistics
from collections.abc import Iterator, Sequence

from torch import Tensor

from cyclegan.diagnosis.evidence import CLEAN, DirectionEvidence, Evidence
from cyclegan.diagnosis.finding import Finding, graded, way
from cyclegan.methods.losses import OBJECTIVES
from cyclegan.methods.registry import method_spec
from cyclegan.metrics import cycle

PAPERS_HISTORY = 50  # images [C 4]
TOO_EARLY = "Ended too early"


def learning_rate_too_high(evidence: Evidence) -> Iterator[Finding]:
    """Losses leap, and the weights have grown far beyond how they started."""
    terms = method_spec(evidence.config.loss.method).adversarial_terms
    adversarial = [values for name, values in evidence.metrics.items() if name in terms]
    leap = max(map(_leap, adversarial), default=0.0)
    sure = graded(evidence.growth, 1.3, 1.6, 2.0) if leap > 8 else None
    if sure:
        yield Finding(
            "Learning rate too high",
            sure,
            "",
            f"The adversarial losses leap to {leap:.0f} times their usual height, and the generators' weights have "
            f"grown to {evidence.growth:.1f} times their size.",
            f"Start again with a lower --learning-rate than {evidence.config.optimizer.learning_rate:g} "
            "(the paper's is 0.0002), or with --clip-norm 1.",
        )


def _leap(values: Sequence[float]) -> float:
    """The highest value beside the median, the first tenth aside, in which all losses are high."""
    settled = values[len(values) // 10 :]
    middle = statistics.median(settled) if settled else 0.0
    return max(settled) / middle if middle > 0 else 0.0


def discriminator_won(evidence: Evidence) -> Iterator[Finding]:
    """The discriminator knows nearly every patch of real and of generated images."""
    objective = OBJECTIVES[evidence.config.loss.objective]
    if evidence.config.loss.objective == "wgangp" or method_spec(evidence.config.loss.method).layout != "unpaired":
        return  # a critic's values have no middle; and where there are pairs, they teach enough
    for side in evidence.sides:
        real = side.seen if side.unseen is None else side.unseen
        knows = float((real > objective.middle).float().mean()), float((side.fake < objective.middle).float().mean())
        sure = graded(min(knows), 0.95, 0.97, 0.985)
        if sure:
            yield Finding(
                "Discriminator has won",
                sure,
                way(evidence, side),
                f"It takes {knows[0]:.1%} of the patches of real images for real, and {knows[1]:.1%} of those of "
                "translations for translations; from one that is never in doubt, the generator learns little.",
                "Raise --lambda-gan if it is below 1; else give the generator more to work with (--generator-width, "
                "--blocks) or the discriminator less (--discriminator-width, --augment diffaugment).",
            )


def discriminator_overfits(evidence: Evidence) -> Iterator[Finding]:
    """The discriminator knows its training images, and doubts other real ones."""
    for side, images in zip(evidence.sides, _target_images(evidence), strict=True):
        if side.unseen is None:
            continue
        seen, unseen, fake = (_of_images(logits) for logits in (side.seen, side.unseen, side.fake))
        apart, lost = float(seen.mean() - fake.mean()), float(seen.mean() - unseen.mean())
        noise = math.sqrt(float(seen.var()) / len(seen) + float(unseen.var()) / len(unseen)) if len(seen) > 1 else 0.0
        sure = graded(lost / apart, 0.35, 0.5, 0.7) if apart > 0 and lost > 3 * noise else None
        if sure:
            yield Finding(
                "Discriminator overfits",
                sure,
                way(evidence, side),
                f"It knows its {images:,} training images by heart: other real images lie {lost / apart:.0%} of the "
                "way to translations for it.",
                "Give more images; with few, train with --augment diffaugment, or a smaller --discriminator-width.",
            )


def _target_images(evidence: Evidence) -> list[int]:
    a, b = evidence.images
    return [b if side.direction == "AtoB" else a for side in evidence.sides]


def _of_images(logits: Tensor) -> Tensor:
    """The mean logit (N) of each image."""
    return logits.flatten(1).mean(1)


def identity_too_strong(evidence: Evidence) -> Iterator[Finding]:
    """The identity loss pulls harder than the adversarial one."""
    spec = method_spec(evidence.config.loss.method)
    for side in evidence.sides:
        identity = sum(norm for name, norm in side.gradients.items() if name in spec.identity_terms)
        adversarial = sum(norm for name, norm in side.gradients.items() if name in spec.adversarial_terms)
        ratio = identity / max(adversarial, 1e-9)
        sure = graded(ratio, 4.0, 5.5, 7.0) if identity else None
        if sure:
            much = (
                f"{ratio:.1f} times as hard as the adversarial loss" if adversarial else "alone, without an adversary"
            )
            yield Finding(
                "Identity loss too strong",
                sure,
                way(evidence, side),
                f"The identity loss pulls at the generator {much}; colors will stay too near to the input's.",
                f"Lower --lambda-identity (now {evidence.config.loss.lambda_identity:g}; the paper takes 0.5, or 0 "
                "where colors are to change), or raise --lambda-gan if that is below 1.",
            )


def history_too_small(evidence: Evidence) -> Iterator[Finding]:
    """The discriminators learn from the latest images only."""
    loss, batch = evidence.config.loss, evidence.config.data.batch_size
    if "pool_size" in method_spec(loss.method).loss_settings and loss.pool_size < 2 * batch:
        yield Finding(
            "History too small",
            "perhaps",
            "",
            f"With --pool-size {loss.pool_size} the discriminators learn from the latest images only; then both sides "
            "may chase each other in circles, and the adversarial losses swing.",
            f"Leave --pool-size at {PAPERS_HISTORY} unless this was meant as a trial.",
        )


def history_too_large(evidence: Evidence) -> Iterator[Finding]:
    """The history is not even full for most of the training."""
    loss, data = evidence.config.loss, evidence.config.data
    made = evidence.step * data.batch_size * evidence.config.optimizer.accumulate / max(evidence.progress, 0.01)
    if "pool_size" in method_spec(loss.method).loss_settings and loss.pool_size > max(PAPERS_HISTORY, made / 2):
        yield Finding(
            "History too large",
            "likely",
            "",
            f"The history holds {loss.pool_size:,} images, and the whole training makes about {made:,.0f} of each "
            "domain; until it is full, it gives back what it is given, and after that, images of long ago.",
            f"Set --pool-size to {PAPERS_HISTORY}, at most to a tenth of the images that are made.",
        )


def ended_too_early(evidence: Evidence) -> Iterator[Finding]:
    """Few images were seen, or the schedule is not at its end."""
    data, optimizer = evidence.config.data, evidence.config.optimizer
    images = evidence.step * data.batch_size * optimizer.accumulate
    weights = evidence.config.loss.lambda_a, evidence.config.loss.lambda_b
    cyclic = all(side.back for side in evidence.sides) and min(weights) > 0
    if cyclic:  # the way back is learned last
        far = max(_way_back(side) for side in evidence.sides)
        sure = graded(images, 500, 300, 100) if far > 0.7 else None
    else:
        sure = graded(images, 200, 150, 100)
    if not sure and evidence.progress < 0.95:
        sure = "likely" if evidence.progress < 0.8 else "perhaps"
    if sure:
        yield Finding(
            TOO_EARLY,
            sure,
            "",
            f"Each domain was seen in {images:,} images, at {evidence.progress:.0%} of the schedule.",
            "Go on with cyclegan resume, and give a larger budget (--max-minutes, --max-steps or --epochs).",
        )


def _way_back(side: DirectionEvidence) -> float:
    """The cycle's error beside that of another image's reconstruction: 1 when nothing comes back."""
    chance = float(cycle.chance_errors(side.inputs, side.back[CLEAN]).mean())
    return float(cycle.cycle_errors(side.inputs, side.back[CLEAN]).mean()) / max(chance, 1e-6)
