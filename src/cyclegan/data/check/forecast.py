"""What a training will make of the data: what numbers and sizes mean for it, and the command to give."""

import shlex
import statistics
from collections.abc import Iterable, Iterator, Sequence

from cyclegan.config.schema import Config, PreprocessPolicy
from cyclegan.data.check.findings import Finding, Level, Part, cases

FEW_IMAGES = 100
UNEVEN, VERY_UNEVEN = 3, 10  # times as many images in one domain as in the other
OBLONG = 1.2  # times as long as wide, from which a square is clearly another shape
MUCH_LARGER = 4  # times the size of training, from which decoding costs far more than what is kept of it
MANY = 0.1  # share of images below the size of the crop

POLICIES: dict[PreprocessPolicy, str] = {
    "resize_and_crop": "Images are resized to {load}x{load}; a random {crop}x{crop} of each is trained on",
    "crop": "A random {crop}x{crop} of each image, at its own scale, is trained on",
    "scale_width": "Images are scaled to a width of {load} and trained on whole",
    "scale_width_and_crop": "Images are scaled to a width of {load}; a random {crop}x{crop} of each is trained on",
    "scale_shortside": "Images are scaled to {load} on the shorter side and trained on whole",
    "scale_shortside_and_crop": (
        "Images are scaled to {load} on the shorter side; a random {crop}x{crop} of each is trained on"
    ),
    "none": "Images are trained on whole, at their own size",
}


def expectations(parts: Sequence[Part], config: Config, paired: bool) -> Iterator[Finding]:
    """What numbers and sizes mean for a training."""
    train = [part for part in parts if part.split == "train"]
    yield from _numbers(train, paired)
    yield from _fit(train, config)
    yield from _shapes(train, config)
    if len(train) == len(parts):
        text = "There are no images to test on; reports will show images of training."
        yield Finding("note", "no test", text, "Put some aside, in testA and testB.")


def _numbers(train: Sequence[Part], paired: bool) -> Iterator[Finding]:
    few = [part for part in train if part.usable < FEW_IMAGES]
    if few:
        counts = " and ".join(f"{part.usable} of {part.name}" for part in few)
        text = f"There are few images, {counts}: below {FEW_IMAGES}, networks learn single images by heart."
        yield Finding("warning", "few images", text, "Gather more, or train briefly and watch the test images.")
    if len(train) == 2 and not paired:
        small, large = sorted(train, key=lambda part: part.usable)
        times = large.usable / max(1, small.usable)
        if times >= UNEVEN:
            text = f"{large.name} has {times:.0f} times as many images as {small.name}, which are seen more often."
            level: Level = "warning" if times >= VERY_UNEVEN else "note"
            yield Finding(level, "imbalance", text, f"Gather more for {small.name}.")


def _fit(train: Sequence[Part], config: Config) -> Iterator[Finding]:
    """Images too small for the crop, too large to be decoded every time, or too different to share a batch."""
    data = config.data
    if not data.preprocess.endswith("crop"):
        if data.batch_size > 1 and len({look.size for part in train for look in part.readable}) > 1:
            text = f"--preprocess {data.preprocess} keeps images of several sizes, which cannot share a batch."
            yield Finding("error", "sizes", text, "Set --batch-size 1, or a --preprocess with a crop.")
        return
    small = cases(train, lambda look: min(look.size) < data.crop_size, lambda look: _times(look.size))
    if small.share:
        sides = sorted(min(look.size) for part in train for look in part.readable)
        fitting = sides[len(sides) // 10] // 32 * 32
        smaller_crop = 32 <= fitting < data.crop_size
        advice = f"--crop-size {fitting} suits nine in ten." if smaller_crop else "Find larger ones."
        text = f"are smaller than the {data.crop_size} pixels of the crop and get blurred when enlarged."
        yield small.finding("warning" if small.share > MANY else "note", "small", text, advice)
    for part in train:
        side = _median(min(look.size) for look in part.readable)
        if side >= MUCH_LARGER * data.load_size:
            text = f"Images of {part.name} have {side:.0f} pixels on the shorter side, slow to decode at every step."
            yield Finding("note", "large", text, f"Scale them down once, to {2 * data.load_size} pixels or so.")


def _shapes(train: Sequence[Part], config: Config) -> Iterator[Finding]:
    if config.data.preprocess != "resize_and_crop":
        return
    oblong = [part for part in train if _median(max(look.size) / min(look.size) for look in part.readable) > OBLONG]
    if oblong:
        names = " and ".join(part.name for part in oblong)
        text = f"Most images of {names} are oblong and get squeezed into squares."
        yield Finding("note", "squeezed", text, "--preprocess scale_shortside_and_crop keeps their shape.")


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _median(values: Iterable[float]) -> float:
    return statistics.median([0.0] if not (found := list(values)) else found)


def steps_an_epoch(parts: Sequence[Part], config: Config) -> int:
    """Optimizer steps for all images of the larger domain [R], on one process."""
    images = max(part.total for part in parts if part.split == "train")
    batches = -(-min(images, config.data.max_images or images) // config.data.batch_size)
    return -(-batches // config.optimizer.accumulate)


def outlook(parts: Sequence[Part], config: Config) -> tuple[str, str]:
    """What training does with these images, in two sentences."""
    data, run, optimizer = config.data, config.run, config.optimizer
    how = POLICIES[data.preprocess].format(load=data.load_size, crop=data.crop_size)
    steps, epochs = steps_an_epoch(parts, config), optimizer.epochs + optimizer.epochs_decay
    budget = f"{epochs} epochs make {epochs * steps:,}"
    if run.max_minutes is not None:
        budget = f"training takes {run.max_minutes:g} minutes, unless you give a budget"
    return (
        how + (", half of them mirrored." if data.flip else "."),
        f"An epoch has {steps:,} step{'s' * (steps != 1)}; {budget}.",
    )


def recommended(words: Sequence[str], findings: Sequence[Finding], all_gray: bool) -> str:
    """The command to train with: the user's own words behind `cyclegan train`, and what the findings ask for."""
    found = {finding.kind for finding in findings}
    squeezed = ["--preprocess", "scale_shortside_and_crop"] if "squeezed" in found else []
    gray = ["--channels-a", "1", "--channels-b", "1"] if all_gray else []
    return shlex.join(["cyclegan", "train", *words, *squeezed, *gray])
