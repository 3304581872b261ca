"""Checks: functions of the evidence that find an issue, with a certainty, an observation and advice.

A check concerns one direction or the whole run. It returns None where it does not apply.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from cyclegan.config.schema import Config
from cyclegan.diagnosis import statistics as stats
from cyclegan.diagnosis.evidence import CLEAN, DirectionEvidence, Evidence
from cyclegan.methods.losses import OBJECTIVES
from cyclegan.methods.registry import method_spec, names_by_layout
from cyclegan.metrics import content, cycle, detail
from cyclegan.runs.results import IMPROVE
from cyclegan.system.text import counted

Certainty = Literal["perhaps", "likely", "certain"]
CERTAINTIES: tuple[Certainty, ...] = ("perhaps", "likely", "certain")
Result = tuple[Certainty | None, str, str] | None  # certainty (None for no issue), observation, advice

PAPER = Config()  # the paper's settings, for advice
MIN_IMAGES = 4  # for statements about a set of images
MIN_LAYOUT_IMAGES = 16  # per domain, for a reliable mean layout
IDENTITY = f"--lambda-identity {PAPER.loss.lambda_identity:g}"
SATURATED = (0.1, 0.2, 0.4)  # fraction of black or white values beyond that of real images
LAYOUT_BOUNDS = (0.25, 0.1, -0.2)  # agreement of layouts below which domains are framed differently
LOSS_NOT_FINITE, ENDED_TOO_EARLY, WORSE_THAN_INPUT = "Loss not finite", "Ended too early", "Worse than untranslated"
MOVED = "Content moved"
MIN_STEPS = 150  # before that, networks say nothing about the settings
FROM_DATA = ("Domains framed differently", "History too small", "History too large", LOSS_NOT_FINITE, ENDED_TOO_EARLY)
UNTRANSLATED_FROM = 0.3  # in a run in progress; at first, all translations are far from the target


@dataclass(frozen=True)
class Finding:
    """An issue in one direction ("summer to winter"), or in the whole run ("")."""

    issue: str
    certainty: Certainty
    direction: str
    observation: str
    advice: str


def grade(value: float, perhaps: float, likely: float, certain: float) -> Certainty | None:
    """The certainty whose bound the value reaches, None before the first. Bounds may fall, if low values are bad."""
    sign = 1 if certain > perhaps else -1
    bounds = zip(CERTAINTIES, (perhaps, likely, certain), strict=True)
    return next((name for name, bound in reversed([*bounds]) if sign * value >= sign * bound), None)


def saturated(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """Many values are at the end of their range, where the gradient of tanh vanishes."""
    fraction = stats.saturation(direction.fakes)
    return (
        grade(fraction - stats.saturation(direction.targets), *SATURATED),
        f"{fraction:.0%} of the values of the translations are completely black or white, where the generator "
        "gets almost no gradient.",
        "Check that the data has the value range that it is read with (cyclegan data check). Then start again with "
        f"a lower --learning-rate, or a smaller --init-gain if it is above {PAPER.networks.init_gain:g}.",
    )


def input_ignored(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """Mode collapse: the generator produces nearly the same image for every input."""
    if len(direction.fakes) < MIN_IMAGES:
        return None
    usual = max(0.01, min(stats.variety(direction.inputs), stats.variety(direction.targets)))
    variety = stats.variety(direction.fakes) / usual
    return (
        grade(variety, 0.4, 0.3, 0.2),
        f"Translations of different images differ by only {variety:.0%} as much as real images do; the generator has "
        "collapsed to one or a few images.",
        f"Restore the weights of the cycle loss (--lambda-a {PAPER.loss.lambda_a:g} --lambda-b "
        f"{PAPER.loss.lambda_b:g}), lower --learning-rate, and add images, or use --augment diffaugment with few.",
    )


def input_copied(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """The translation equals the input."""
    if len(direction.fakes) < MIN_IMAGES or direction.inputs.shape != direction.fakes.shape:
        return None
    apart = stats.gap(direction.inputs, direction.targets)
    chance = stats.gap(direction.targets[::2], direction.targets[1::2])
    moved = stats.gap(direction.fakes, direction.inputs) / max(apart, 1e-6)
    if stats.agreement(direction.inputs, direction.fakes) <= 0.85 or apart <= 2 * chance:
        return None
    loss = evidence.config.loss
    weights = ", then ".join(
        f"--{name.replace('_', '-')} (now {getattr(loss, name):g})" for name in method_spec(loss.method).input_weights
    )
    return (
        grade(moved, 0.4, 0.33, 0.25),
        f"In color and detail, translations have moved only {moved:.0%} of the distance from the source domain to the "
        "target domain; their layout and brightness are those of the input.",
        f"Lower the weights that tie translations to their input: {weights}. If the discriminator has also won, fix "
        "that first.",
    )


def colors_inverted(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """Light areas of the input are dark in the translation."""
    if evidence.layout_agreement is not None and evidence.layout_agreement < LAYOUT_BOUNDS[1]:
        return None  # light and dark areas are elsewhere, which is another issue
    agreement = stats.agreement(direction.inputs, direction.fakes)
    required = direction.paired and agreement > stats.agreement(direction.inputs, direction.targets) - 0.4
    if required or not _reaches_target(direction):
        return None
    return (
        grade(agreement, -0.2, -0.35, -0.45),
        f"Light and dark are swapped: the luminances of input and translation have a correlation of {agreement:.2f}.",
        "Ignore this if the task requires it. Otherwise check whether one domain contains negatives; if not, start "
        f"again with the identity loss ({IDENTITY}), which prevents this, or with another --seed.",
    )


def channels_permuted(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """Color channels of the translation follow those of the input in another order."""
    inputs, targets, fakes = direction.inputs, direction.targets, direction.fakes
    if not 2 <= inputs.shape[1] == fakes.shape[1] <= stats.MAX_CHANNELS or not _reaches_target(direction):
        return None
    agreements = stats.color_agreement(inputs, fakes)
    order, gain = stats.channel_order(agreements)
    required = direction.paired and order == stats.channel_order(stats.color_agreement(inputs, targets))[0]
    follows = float(agreements[range(len(order)), order].mean()) > 0.1
    if required or not follows or stats.agreement(inputs, fakes) <= 0:
        return None
    channels = "RGBA"[: len(order)]
    return (
        grade(gain, 0.3, 0.4, 0.5),
        f"The translation's channels {', '.join(channels[i] for i in order)} follow the input's channels "
        f"{', '.join(channels)} more closely than the same channels do.",
        "Check whether one domain was saved in BGR order, as OpenCV does. If not, start again with the identity loss "
        f"({IDENTITY}), which prevents this, or with another --seed.",
    )


def _reaches_target(direction: DirectionEvidence) -> bool:
    """Whether translations resemble the target domain at all."""
    return stats.gap(direction.fakes, direction.targets) < 0.35 * stats.gap(direction.inputs, direction.targets)


def _cycle_errors(direction: DirectionEvidence) -> tuple[Tensor, Tensor]:
    """The cycle error of each image, and its error against another image's reconstruction."""
    images, reconstructions = direction.inputs, direction.reconstructions[CLEAN]
    return cycle.cycle_errors(images, reconstructions), cycle.chance_errors(images, reconstructions)


def information_hidden(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """The reconstruction depends on faint patterns in the translation (Chu et al. 2017)."""
    if not direction.reconstructions:
        return None
    clean, chance = _cycle_errors(direction)
    if clean.mean() > 0.6 * chance.mean():
        return None  # there is no reconstruction yet
    one_way = [name for name in names_by_layout("unpaired") if len(method_spec(name).directions) == 1]
    retained = [
        cycle.retained_fraction(clean, cycle.cycle_errors(direction.inputs, images), chance)
        for name, images in direction.reconstructions.items()
        if name != CLEAN
    ]
    return (
        grade(statistics.mean(retained), 0.85, 0.75, 0.6),
        f"Slight, invisible blur or noise on the translation leaves only {min(retained):.0%} of the reconstruction: "
        "the generator hides the input in imperceptible patterns.",
        "Lower the weight of this cycle (--lambda-a for A to B to A, --lambda-b for the other), especially if the "
        f"target shows much less than the source; or train one direction only (--method {' or '.join(one_way)}).",
    )


def checkerboard(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """A pattern repeats every few pixels (Odena et al. 2016)."""
    strength, usual = stats.checkerboard(direction.fakes), stats.checkerboard(direction.targets)
    dots, real = (float(detail.nyquist_ratio(each).mean()) for each in (direction.fakes, direction.targets))
    ratio = dots / max(real, detail.MIN_RATIO)
    found = grade(strength - usual, 2.0, 3.0, 5.0), grade(ratio, detail.DOTTED, 5.0, 10.0)
    antialias = "" if evidence.config.networks.antialias else " If it stays, start again with --antialias."
    return (
        max(found, key=(None, *CERTAINTIES).index),
        f"A pattern with a strength of {strength:.1f} of 255 levels repeats every four pixels; single-pixel dots have "
        f"{ratio:.1f} times the energy that they have in real images.",
        f"Train longer; it often fades.{antialias}",
    )


def _relative_energy(direction: DirectionEvidence) -> float:
    """Gradient energy of the translations relative to that of real images."""
    fakes, real = (float(detail.gradient_energy(each).mean()) for each in (direction.fakes, direction.targets))
    return fakes / max(real, 1e-6)


def blurred(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """Edges are much weaker than in real images."""
    energy = _relative_energy(direction)
    return (
        grade(energy, detail.BLURRED, 0.35, 0.2),
        f"Translations have {energy:.0%} of the gradient energy of real images: they are blurred.",
        "Train longer: detail comes last. If it does not, lower the weights of the cycle (--lambda-a, --lambda-b), or "
        "start again with another --generator that keeps the detail of its input, such as space_to_depth or unet_64.",
    )


def too_sharp(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """Edges are much stronger than in real images: noise, halos or texture."""
    if stats.saturation(direction.fakes) > stats.saturation(direction.targets) + SATURATED[0]:
        return None  # hard edges follow from that
    energy = _relative_energy(direction)
    return (
        grade(energy, detail.TOO_SHARP, 3.0, 5.0),
        f"Translations have {energy:.1f} times the gradient energy of real images: they are too sharp or noisy.",
        "Train longer; early in a run, noise is common. If it stays, average the generators (--ema-horizon 0.05), or "
        "lower --learning-rate.",
    )


def worse_than_input(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """Translations are further from the target domain than the inputs: doing nothing would be better."""
    distance = direction.distance
    if len(direction.fakes) < MIN_IMAGES:
        return None
    scatter = 0.1 if distance.name.startswith("KD") else 0.0  # of kernel distances of few images, around zero
    return (
        grade((distance.fakes - scatter) / max(distance.untranslated, 1e-9), 1.05, 1.2, 1.5),
        f"By {distance.name}, translations are further from real target images ({distance.fakes:.3g}) than the "
        f"untranslated inputs are ({distance.untranslated:.3g}); doing nothing would be better.",
        IMPROVE,
    )


def content_moved(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """Translations have the detail of real images, but not the edges of their input."""
    ignored, energy = input_ignored(evidence, direction), _relative_energy(direction)
    if ignored is None or ignored[0] or not detail.BLURRED < energy < detail.TOO_SHARP:
        return None  # few images, or an issue that explains it
    agreement, other = _edge_agreement(direction.inputs, direction.fakes)
    kept = (agreement - other) / (1 - other)
    if direction.paired:
        truth = _edge_agreement(direction.inputs, direction.targets)
        if kept > (truth[0] - truth[1]) / (1 - truth[1]) - 0.2:
            return None  # the task requires it
    spec = method_spec(evidence.config.loss.method)
    weights = ", ".join(f"--{name.replace('_', '-')}" for name in spec.input_weights)
    held = "with a loss on structure (--structure ssim), masks (--masks loss) or labels (--labels), or "
    return (
        grade(kept, 0.3, 0.2, 0.1),
        f"The edges of translations agree with those of their input by {agreement:.2f}, where edges of another image "
        f"agree by {other:.2f}: content has moved or was invented.",
        f"Ignore this if shapes have to change. Otherwise start again {held * ('structure' in spec.loss_settings)}with "
        f"higher weights of what ties translations to their input: {weights}.",
    )


def _edge_agreement(inputs: Tensor, images: Tensor) -> tuple[float, float]:
    """The mean agreement of the edges of inputs with those of their images, and with those of the next ones."""
    own, other = (float(content.edge_agreement(inputs, each).mean()) for each in (images, images.roll(1, 0)))
    return own, other


def framed_differently(evidence: Evidence) -> Result:
    """Light areas and edges are in different positions in the two domains, so a generator would have to move them."""
    agreement = evidence.layout_agreement
    paired = method_spec(evidence.config.loss.method).layout != "unpaired"  # the user vouches for positions
    if agreement is None or paired or min(evidence.image_counts) < MIN_LAYOUT_IMAGES:
        return None
    a, b = evidence.names
    return (
        grade(agreement, *LAYOUT_BOUNDS),
        f"Light areas and edges are in different positions in {a} and {b} (agreement {agreement:.2f}; 0.5 to 0.9 is "
        "usual), for example because one domain was photographed from closer or from another angle.",
        "Crop or select the images so that objects have the same size and position in both domains; generators "
        "change appearance well, but geometry poorly. If content must not move, add --structure ssim.",
    )


def learning_rate_too_high(evidence: Evidence) -> Result:
    """Losses spike, and the weights have grown far beyond their initial size."""
    terms = method_spec(evidence.config.loss.method).adversarial_terms
    curves = (v[len(v) // 10 :] for name, v in evidence.metrics.items() if name in terms)  # at first all are high
    spike = max((max(v) / statistics.median(v) for v in curves if v and statistics.median(v) > 0), default=0.0)
    growth = evidence.weight_growth
    return (
        grade(growth, 1.3, 1.6, 2.0) if spike > 8 else None,
        f"The adversarial losses spike to {spike:.0f} times their median, and the generators' weights have grown to "
        f"{growth:.1f} times their initial size.",
        f"Start again with a --learning-rate below {evidence.config.optimizer.learning_rate:g} (paper: "
        f"{PAPER.optimizer.learning_rate:g}), or with --clip-norm 1.",
    )


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


def discriminator_overfits(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """The discriminator recognizes its training images, but not other real images."""
    if direction.test_logits is None:
        return None
    logits = (direction.train_logits, direction.test_logits, direction.fake_logits)
    train, test, fake = (each.flatten(1).mean(1) for each in logits)
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


def history_too_small(evidence: Evidence) -> Result:
    """The discriminators learn from the latest images only."""
    loss = evidence.config.loss
    if not evidence.has_history or loss.pool_size >= 2 * evidence.config.data.batch_size:
        return None
    return (
        "perhaps",
        f"With --pool-size {loss.pool_size} the discriminators see only the latest translations; generators and "
        "discriminators may then oscillate, and with them the adversarial losses.",
        f"Leave --pool-size at {PAPER.loss.pool_size} unless this is an experiment.",
    )


def history_too_large(evidence: Evidence) -> Result:
    """The history is not even full for most of the training."""
    loss, usual = evidence.config.loss, PAPER.loss.pool_size
    total = evidence.images_seen / max(evidence.progress, 0.01)
    if not evidence.has_history or loss.pool_size <= max(usual, total / 2):
        return None
    return (
        "likely",
        f"The history holds {loss.pool_size:,} images, but the whole training generates only about {total:,.0f} per "
        "domain; it returns new images until it is full, and long outdated ones after that.",
        f"Set --pool-size to {usual}, or at most to a tenth of the generated images.",
    )


def loss_not_finite(evidence: Evidence) -> Result:
    """The run ended because a loss, and with it the weights, became infinite or NaN."""
    if evidence.not_finite is None:
        return None
    return (
        "certain",
        f"The loss was no longer finite at step {evidence.not_finite:,}, which ended the run; its last checkpoint, of "
        f"step {evidence.step:,}, is finite.",
        "Start again with a smaller --learning-rate, --clip-norm 1 or --precision 32-true.",
    )


def ended_too_early(evidence: Evidence) -> Result:
    """Few images were seen, or the schedule was not completed."""
    if evidence.not_finite is not None:
        return None
    images, loss = evidence.images_seen, evidence.config.loss
    advice = "Continue with cyclegan resume and a larger budget (--max-minutes, --max-steps or --epochs)."
    if evidence.step < MIN_STEPS:
        observation = f"The run ended after {counted(evidence.step, 'step')}, too early to judge its translations."
        worse = [each for each in evidence.directions if (worse_than_input(evidence, each) or (None,))[0]]
        if worse:
            names = " and ".join(_direction_name(evidence, each) for each in worse)
            observation += f" So far, those from {names} are further from the target domain than their inputs."
        return "certain", observation, advice
    certainty = grade(images, 200, 150, 100)
    if all(each.reconstructions for each in evidence.directions) and min(loss.lambda_a, loss.lambda_b) > 0:
        # Cycles are learned last. At 1 a reconstruction is no better than that of another image.
        errors = [_cycle_errors(each) for each in evidence.directions]
        error = max(float(clean.mean()) / max(float(chance.mean()), 1e-6) for clean, chance in errors)
        certainty = grade(images, 500, 300, 100) if error > 0.7 else None
    if not certainty and evidence.progress < 0.95:
        certainty = "likely" if evidence.progress < 0.8 else "perhaps"
    return (
        certainty,
        f"The run saw {images:,} images per domain and completed {evidence.progress:.0%} of the schedule.",
        advice,
    )


def _direction_name(evidence: Evidence, direction: DirectionEvidence) -> str:
    return " to ".join(evidence.names if direction.direction == "AtoB" else evidence.names[::-1])


# Issue, check, and whether it concerns the whole run; causes before effects. Bounds were set on healthy and sabotaged
# runs on the built-in data set and tested on others; docs/reading-the-curves.md has the detection rates.
CHECKS: tuple[tuple[str, Callable[..., Result], bool], ...] = (
    ("Learning rate too high", learning_rate_too_high, True),
    ("Saturated outputs", saturated, False),
    ("Input ignored", input_ignored, False),
    ("Input copied", input_copied, False),
    ("Discriminator has won", discriminator_won, False),
    ("Colors inverted", colors_inverted, False),
    ("Channels permuted", channels_permuted, False),
    ("Domains framed differently", framed_differently, True),
    ("Information hidden", information_hidden, False),
    ("Discriminator overfits", discriminator_overfits, False),
    ("Identity loss too strong", identity_too_strong, False),
    ("Checkerboard", checkerboard, False),
    ("History too small", history_too_small, True),
    ("History too large", history_too_large, True),
    (ENDED_TOO_EARLY, ended_too_early, True),
    ("Blurred", blurred, False),
    ("Too sharp", too_sharp, False),
    (WORSE_THAN_INPUT, worse_than_input, False),
    (MOVED, content_moved, False),
    (LOSS_NOT_FINITE, loss_not_finite, True),
)


def run_checks(evidence: Evidence, *, in_progress: bool = False) -> list[Finding]:
    """All findings, the most certain first; of equally certain ones, causes before effects.

    Of a run of fewer than `MIN_STEPS` steps, only what the data and settings show. Having ended too early is not
    reported for a run in progress, nor next to a certain issue, since continuing would not help.
    """
    found, early = [], evidence.step < MIN_STEPS
    for issue, check, whole_run in CHECKS:
        if early and issue not in FROM_DATA:
            continue
        for scope in [()] if whole_run else [(direction,) for direction in evidence.directions]:
            certainty, observation, advice = check(evidence, *scope) or (None, "", "")
            if certainty:
                name = "".join(_direction_name(evidence, each) for each in scope)
                found.append(Finding(issue, certainty, name, observation, advice))
    others = [finding for finding in found if finding.issue != ENDED_TOO_EARLY]
    if in_progress or (not early and any(finding.certainty == "certain" for finding in others)):
        found = others
    if in_progress and evidence.progress < UNTRANSLATED_FROM:
        found = [finding for finding in found if finding.issue not in (WORSE_THAN_INPUT, MOVED)]
    return sorted(found, key=lambda finding: -CERTAINTIES.index(finding.certainty))
