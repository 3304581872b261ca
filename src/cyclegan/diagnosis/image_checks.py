"""Checks of the images that generators receive and produce."""

import statistics

from cyclegan.diagnosis import statistics as stats
from cyclegan.diagnosis.checks import PAPER, Result, direction_check, grade, run_check
from cyclegan.diagnosis.evidence import CLEAN, DirectionEvidence, Evidence
from cyclegan.methods.registry import method_spec, names_by_layout
from cyclegan.metrics import cycle

MIN_IMAGES = 4  # for statements about a set of images
MIN_LAYOUT_IMAGES = 16  # per domain, for a reliable mean layout
IDENTITY = f"--lambda-identity {PAPER.loss.lambda_identity:g}"
LAYOUT_BOUNDS = (0.25, 0.1, -0.2)  # agreement of layouts below which domains are framed differently


@direction_check("Saturated outputs")
def saturated(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """Many values are at the end of their range, where the gradient of tanh vanishes."""
    fraction = stats.saturation(direction.fakes)
    return (
        grade(fraction - stats.saturation(direction.targets), 0.1, 0.2, 0.4),
        f"{fraction:.0%} of the values of the translations are completely black or white, where the generator "
        "gets almost no gradient.",
        "Check that the data has the value range that it is read with (cyclegan data check). Then start again with "
        f"a lower --learning-rate, or a smaller --init-gain if it is above {PAPER.networks.init_gain:g}.",
    )


@direction_check("Input ignored")
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


@direction_check("Input copied")
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


@direction_check("Colors inverted")
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


@direction_check("Channels permuted")
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


@direction_check("Information hidden")
def information_hidden(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """The reconstruction depends on faint patterns in the translation (Chu et al. 2017)."""
    if not direction.reconstructions:
        return None
    chance = cycle.chance_errors(direction.inputs, direction.reconstructions[CLEAN])
    clean = cycle.cycle_errors(direction.inputs, direction.reconstructions[CLEAN])
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


@direction_check("Checkerboard")
def checkerboard(evidence: Evidence, direction: DirectionEvidence) -> Result:
    """A pattern repeats every few pixels (Odena et al. 2016)."""
    strength = stats.checkerboard(direction.fakes)
    antialias = "" if evidence.config.networks.antialias else " If it stays, start again with --antialias."
    return (
        grade(strength - stats.checkerboard(direction.targets), 2.0, 3.0, 5.0),
        f"A pattern with a strength of {strength:.1f} of 255 levels repeats every four pixels.",
        f"Train longer; it often fades.{antialias}",
    )


@run_check("Domains framed differently")
def framed_differently(evidence: Evidence) -> Result:
    """Light areas and edges are in different positions in the two domains, so a generator would have to move them."""
    agreement = evidence.layout_agreement
    if agreement is None or min(evidence.image_counts) < MIN_LAYOUT_IMAGES:
        return None
    a, b = evidence.names
    return (
        grade(agreement, *LAYOUT_BOUNDS),
        f"Light areas and edges are in different positions in {a} and {b} (agreement {agreement:.2f}; 0.5 to 0.9 is "
        "usual), for example because one domain was photographed from closer or from another angle.",
        "Crop or select the images so that objects have the same size and position in both domains; generators "
        "change appearance well, but geometry poorly.",
    )
