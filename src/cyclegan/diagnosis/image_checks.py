"""Issues that show in images: in what the generators make, and in what they are given."""

import statistics
from collections.abc import Iterator

from cyclegan.diagnosis import statistics as stats
from cyclegan.diagnosis.evidence import CLEAN, DirectionEvidence, Evidence
from cyclegan.diagnosis.finding import Finding, graded, way
from cyclegan.methods.registry import method_spec
from cyclegan.metrics import cycle

FEW = 4  # images, with fewer of which nothing can be said of a set
MOVED = (0.25, 0.1, -0.2)  # agreement of layouts from which domains seem framed differently
FEW_FOR_LAYOUT = 16  # images of a domain, with fewer of which their mean layout is chance


def saturated(evidence: Evidence) -> Iterator[Finding]:
    """Many values stand at the end of their range, where tanh has no slope."""
    for side in evidence.sides:
        share = stats.saturation(side.fakes)
        sure = graded(share - stats.saturation(side.targets), 0.1, 0.2, 0.4)
        if sure:
            yield Finding(
                "Saturated outputs",
                sure,
                way(evidence, side),
                f"{share:.0%} of the values of the translations are black or white to the end; there the generator "
                "gets next to no gradient.",
                "Look whether the data has the range that it is read with (cyclegan data check). Then start again with "
                "a lower --learning-rate, or a smaller --init-gain if that is not 0.02.",
            )


def input_ignored(evidence: Evidence) -> Iterator[Finding]:
    """The generator gives nearly the same image whatever its input: it has collapsed."""
    for side in evidence.sides:
        if len(side.fakes) < FEW:
            continue
        usual = max(0.01, min(stats.variety(side.inputs), stats.variety(side.targets)))
        share = stats.variety(side.fakes) / usual
        sure = graded(share, 0.4, 0.3, 0.2)
        if sure:
            yield Finding(
                "Input ignored",
                sure,
                way(evidence, side),
                f"Translations of different images differ by only {share:.0%} of what real images differ by; the "
                "generator has collapsed to one image or few.",
                "Give the cycle its weight back (--lambda-a 10 --lambda-b 10), lower the --learning-rate, and give "
                "more images, or --augment diffaugment where there are few.",
            )


def input_copied(evidence: Evidence) -> Iterator[Finding]:
    """The translation is the input."""
    for side in evidence.sides:
        if len(side.fakes) < FEW or side.inputs.shape != side.fakes.shape:
            continue
        apart = stats.gap(side.inputs, side.targets)
        chance = stats.gap(side.targets[::2], side.targets[1::2])
        kept = stats.gap(side.fakes, side.inputs) / max(apart, 1e-6)
        alike = stats.agreement(side.inputs, side.fakes) > 0.85
        sure = graded(kept, 0.4, 0.33, 0.25) if alike and apart > 2 * chance else None
        if sure:
            yield Finding(
                "Input copied",
                sure,
                way(evidence, side),
                f"In color and detail, the translations have moved by {kept:.0%} of the way from the input's domain "
                "to the target's; layout and light are the input's own.",
                f"Lower what holds the generator to its input: {_holds(evidence)}. If the discriminator has won, too, "
                "that comes first.",
            )


def _holds(evidence: Evidence) -> str:
    loss = evidence.config.loss
    weights = method_spec(loss.method).input_weights
    return ", then ".join(f"--{name.replace('_', '-')} (now {getattr(loss, name):g})" for name in weights)


def colors_inverted(evidence: Evidence) -> Iterator[Finding]:
    """What is light in the input is dark in the translation."""
    if evidence.layout is not None and evidence.layout < MOVED[1]:
        return  # light and dark are at other places, which is another issue
    for side in evidence.sides:
        agrees = stats.agreement(side.inputs, side.fakes)
        if not _reaches_target(side) or (side.truth and agrees > stats.agreement(side.inputs, side.targets) - 0.4):
            continue
        sure = graded(agrees, -0.2, -0.35, -0.45)
        if sure:
            yield Finding(
                "Colors inverted",
                sure,
                way(evidence, side),
                f"Light and dark are exchanged: the luminances of input and translation correlate by {agrees:.2f}.",
                "If the task asks for that, all is well. Else look whether one domain holds negatives; if not, start "
                "again with the identity loss (--lambda-identity 0.5), which rules this out, or another --seed.",
            )


def channels_permuted(evidence: Evidence) -> Iterator[Finding]:
    """The colors of the translation follow those of the input in another order."""
    for side in evidence.sides:
        if not 2 <= side.inputs.shape[1] == side.fakes.shape[1] <= stats.MOST_CHANNELS or not _reaches_target(side):
            continue
        agreements = stats.color_agreement(side.inputs, side.fakes)
        order, better = stats.channel_order(agreements)
        asked = side.truth and order == stats.channel_order(stats.color_agreement(side.inputs, side.targets))[0]
        follows = float(agreements[range(len(order)), order].mean()) > 0.1
        sure = graded(better, 0.3, 0.4, 0.5)
        if sure and follows and not asked and stats.agreement(side.inputs, side.fakes) > 0:
            letters = "RGBA"[: len(order)]
            yield Finding(
                "Channels permuted",
                sure,
                way(evidence, side),
                f"The translation's {', '.join(letters[i] for i in order)} follow the input's {', '.join(letters)} "
                "better than the channels of the same colors do.",
                "Look whether one domain was written in the order BGR, as OpenCV does. If not, start again with the "
                "identity loss (--lambda-identity 0.5), which rules this out, or another --seed.",
            )


def _reaches_target(side: DirectionEvidence) -> bool:
    """Whether translations look like the target at all, so that it is worth asking how they came about."""
    return stats.gap(side.fakes, side.targets) < 0.35 * stats.gap(side.inputs, side.targets)


def information_hidden(evidence: Evidence) -> Iterator[Finding]:
    """The way back rests on faint patterns in the translation (Chu et al. 2017)."""
    for side in evidence.sides:
        if not side.back:
            continue
        chance = cycle.chance_errors(side.inputs, side.back[CLEAN])
        clean = cycle.cycle_errors(side.inputs, side.back[CLEAN])
        if clean.mean() > 0.6 * chance.mean():
            continue  # there is no way back yet that could be hidden
        left = [
            cycle.retained_fraction(clean, cycle.cycle_errors(side.inputs, back), chance)
            for name, back in side.back.items()
            if name != CLEAN
        ]
        sure = graded(statistics.mean(left), 0.85, 0.75, 0.6)
        if sure:
            yield Finding(
                "Information hidden",
                sure,
                way(evidence, side),
                f"A slight blur or noise on the translation, which no eye minds, leaves only {min(left):.0%} of the "
                "way back: the generator hides the input in patterns that are not to be seen.",
                "Lower the weight of this cycle (--lambda-a for A to B and back, --lambda-b for the other), above all "
                "where the target shows much less than the source; or train one way only (--method cut).",
            )


def checkerboard(evidence: Evidence) -> Iterator[Finding]:
    """A pattern repeats every few pixels (Odena et al. 2016)."""
    for side in evidence.sides:
        strength = stats.checkerboard(side.fakes)
        sure = graded(strength - stats.checkerboard(side.targets), 2.0, 3.0, 5.0)
        if sure:
            antialiased = evidence.config.networks.antialias
            yield Finding(
                "Checkerboard",
                sure,
                way(evidence, side),
                f"A pattern of {strength:.1f} levels of 255 repeats every four pixels.",
                "Train longer; it often fades."
                + ("" if antialiased else " If it stays, start again with --antialias."),
            )


def framed_differently(evidence: Evidence) -> Iterator[Finding]:
    """Domains differ in where light and edges are, which a generator would have to move."""
    agrees = evidence.layout
    if agrees is None or min(evidence.images) < FEW_FOR_LAYOUT:
        return
    sure = graded(agrees, *MOVED)
    if sure:
        a, b = evidence.names
        yield Finding(
            "Domains framed differently",
            sure,
            "",
            f"Light and edges are at other places in {a} than in {b} (agreement {agrees:.2f}; 0.5 to 0.9 is usual), "
            "as when one is seen from nearer, or from another side.",
            "Crop or choose the images so that things have the same size and place in both domains; a generator "
            "changes looks well, and places badly.",
        )
