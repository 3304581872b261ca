"""Checks of the training: losses, weights, gradients and discriminator outputs."""

import math
import statistics
from collections.abc import Sequence

from cyclegan.config.schema import LossConfig
from cyclegan.diagnosis.checks import PAPER, Result, direction_check, grade, run_check
from cyclegan.diagnosis.evidence import CLEAN, DirectionEvidence, Evidence
from cyclegan.methods.losses import OBJECTIVES
from cyclegan.methods.registry import method_spec
from cyclegan.metrics import cycle

ENDED_TOO_EARLY = "Ended too early"


@run_check("Learning rate too high")
def learning_rate_too_high(evidence: Evidence) -> Result:
    """Losses spike, and the weights have grown far beyond their initial size."""
    terms = method_spec(evidence.config.loss.method).adversarial_terms
    spike = max((_spike(values) for name, values in evidence.metrics.items() if name in terms), default=0.0)
    growth = evidence.weight_growth
    return (
        grade(growth, 1.3, 1.6, 2.0) if spike > 8 else None,
        f"The adversarial losses spike to {spike:.0f} times their median, and the generators' weights have grown to "
        f"{growth:.1f} times their initial size.",
        f"Start again with a --learning-rate below {evidence.config.optimizer.learning_rate:g} (paper: "
        f"{PAPER.optimizer.learning_rate:g}), or with --clip-norm 1.",
    )


def _spike(values: Sequence[float]) -> float:
    """Maximum divided by median, without the first tenth, where all losses are high."""
    rest = values[len(values) // 10 :]
    median = statistics.median(rest) if rest else 0.0
    return max(rest) / median if median > 0 else 0.0


@direction_check("Discriminator has won")
def discriminator_won(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """The discriminator recognizes almost every patch of real and generated images."""
    loss = evidence.config.loss
    if loss.objective == "wgangp" or method_spec(loss.method).layout != "unpaired":
        return None  # a critic's outputs have no threshold; with pairs, the pairs teach enough
    threshold = OBJECTIVES[loss.objective].middle
    real_logits = direction.train_logits if direction.test_logits is None else direction.test_logits
    real = float((real_logits > threshold).float().mean())
    fake = float((direction.fake_logits < threshold).float().mean())
    return (
        grade(min(real, fake), 0.95, 0.97, 0.985),
        f"It classifies {real:.1%} of the patches of real images as real and {fake:.1%} of those of translations as "
        "generated; a generator learns little from a discriminator that is never in doubt.",
        "Raise --lambda-gan if it is below 1; otherwise strengthen the generator (--generator-width, --blocks) or "
        "weaken the discriminator (--discriminator-width, --augment diffaugment).",
    )


@direction_check("Discriminator overfits")
def discriminator_overfits(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """The discriminator recognizes its training images, but not other real images."""
    if direction.test_logits is None:
        return None
    train, test, fake = (
        logits.flatten(1).mean(1) for logits in (direction.train_logits, direction.test_logits, direction.fake_logits)
    )
    margin, loss = float(train.mean() - fake.mean()), float(train.mean() - test.mean())
    noise = math.sqrt(float(train.var()) / len(train) + float(test.var()) / len(test)) if len(train) > 1 else 0.0
    if margin <= 0 or loss <= 3 * noise:
        return None
    images = evidence.image_counts[1 if direction.direction == "AtoB" else 0]
    return (
        grade(loss / margin, 0.35, 0.5, 0.7),
        f"It has memorized its {images:,} training images: its outputs for other real images are {loss / margin:.0%} "
        "of the way to those for translations.",
        "Add images; with few, train with --augment diffaugment, or a smaller --discriminator-width.",
    )


@direction_check("Identity loss too strong")
def identity_too_strong(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """The gradient of the identity loss exceeds that of the adversarial loss."""
    loss, spec = evidence.config.loss, method_spec(evidence.config.loss.method)
    identity, adversarial = (
        sum(norm for name, norm in direction.gradient_norms.items() if name in terms)
        for terms in (spec.identity_terms, spec.adversarial_terms)
    )
    ratio = identity / max(adversarial, 1e-9)
    compared = f"is {ratio:.1f} times that of the adversarial loss" if adversarial else "has no adversarial counterpart"
    return (
        grade(ratio, 4.0, 5.5, 7.0) if identity else None,
        f"The gradient of the identity loss {compared}; colors will stay too close to the input's.",
        f"Lower --lambda-identity (now {loss.lambda_identity:g}; paper: {PAPER.loss.lambda_identity:g}, or 0 if colors "
        "should change), or raise --lambda-gan if it is below 1.",
    )


def _has_history(loss: LossConfig) -> bool:
    return "pool_size" in method_spec(loss.method).loss_settings


@run_check("History too small")
def history_too_small(evidence: Evidence) -> Result:
    """The discriminators learn from the latest images only."""
    loss = evidence.config.loss
    if not _has_history(loss) or loss.pool_size >= 2 * evidence.config.data.batch_size:
        return None
    return (
        "perhaps",
        f"With --pool-size {loss.pool_size} the discriminators see only the latest translations; generators and "
        "discriminators may then oscillate, and with them the adversarial losses.",
        f"Leave --pool-size at {PAPER.loss.pool_size} unless this is an experiment.",
    )


@run_check("History too large")
def history_too_large(evidence: Evidence) -> Result:
    """The history is not even full for most of the training."""
    loss, usual = evidence.config.loss, PAPER.loss.pool_size
    total = _images_seen(evidence) / max(evidence.progress, 0.01)
    if not _has_history(loss) or loss.pool_size <= max(usual, total / 2):
        return None
    return (
        "likely",
        f"The history holds {loss.pool_size:,} images, but the whole training generates only about {total:,.0f} per "
        "domain; it returns new images until it is full, and long outdated ones after that.",
        f"Set --pool-size to {usual}, or at most to a tenth of the generated images.",
    )


def _images_seen(evidence: Evidence) -> int:
    return evidence.step * evidence.config.data.batch_size * evidence.config.optimizer.accumulate


@run_check(ENDED_TOO_EARLY)
def ended_too_early(evidence: Evidence) -> Result:
    """Few images were seen, or the schedule was not completed."""
    images, loss = _images_seen(evidence), evidence.config.loss
    certainty = grade(images, 200, 150, 100)
    if all(each.reconstructions for each in evidence.directions) and min(loss.lambda_a, loss.lambda_b) > 0:
        # Cycles are learned last.
        error = max(_relative_cycle_error(each) for each in evidence.directions)
        certainty = grade(images, 500, 300, 100) if error > 0.7 else None
    if not certainty and evidence.progress < 0.95:
        certainty = "likely" if evidence.progress < 0.8 else "perhaps"
    return (
        certainty,
        f"The run saw {images:,} images per domain and completed {evidence.progress:.0%} of the schedule.",
        "Continue with cyclegan resume and a larger budget (--max-minutes, --max-steps or --epochs).",
    )


def _relative_cycle_error(direction: DirectionEvidence) -> float:
    """The cycle error divided by that of another image's reconstruction: 1 when nothing is reconstructed."""
    reconstructions = direction.reconstructions[CLEAN]
    chance = float(cycle.chance_errors(direction.inputs, reconstructions).mean())
    return float(cycle.cycle_errors(direction.inputs, reconstructions).mean()) / max(chance, 1e-6)
