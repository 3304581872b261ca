"""A forecast of training: findings about the number and size of images, steps per epoch, and the command to use."""

import statistics
from collections.abc import Iterable, Iterator, Sequence

from cyclegan.config.schema import Config, PreprocessPolicy
from cyclegan.data.check.findings import Finding, Level, Part, finding, match_images
from cyclegan.data.layouts import SplitFiles
from cyclegan.system.machine import local_processes
from cyclegan.system.text import counted, quote

FEW_IMAGES = 100
UNEVEN, VERY_UNEVEN = 3, 10  # ratio of the numbers of images in the two domains
OBLONG = 1.2  # aspect ratio from which resizing to a square distorts visibly
MUCH_LARGER = 4  # ratio to the load size from which decoding is wasteful
MANY = 0.1  # fraction of images smaller than the crop

POLICIES: dict[PreprocessPolicy, str] = {
    "resize_and_crop": "Images are resized to {load}x{load} and randomly cropped to {crop}x{crop}",
    "crop": "Images are randomly cropped to {crop}x{crop} at their own scale",
    "scale_width": "Images are scaled to a width of {load} and used whole",
    "scale_width_and_crop": "Images are scaled to a width of {load} and randomly cropped to {crop}x{crop}",
    "scale_shortside": "Images are scaled to {load} on the shorter side and used whole",
    "scale_shortside_and_crop": "Images are scaled to {load} on the shorter side and randomly cropped to {crop}x{crop}",
    "none": "Images are used whole, at their own size",
}


def size_findings(parts: Sequence[Part], config: Config, paired: bool) -> Iterator[Finding]:
    """Findings about the number and the size of images."""
    train = [part for part in parts if part.split == "train"]
    yield from _check_counts(train, paired)
    yield from _check_sizes(train, config)
    oblong = [part for part in train if _median(max(each.size) / min(each.size) for each in part.readable) > OBLONG]
    if oblong and config.data.preprocess == "resize_and_crop":
        names = " and ".join(part.name for part in oblong)
        text = f"Most images of {names} are not square and get distorted by resizing to a square."
        yield Finding("note", "squeezed", text, "--preprocess scale_shortside_and_crop keeps their aspect ratio.")
    if len(train) == len(parts):
        text = "There are no test images; reports will show training images."
        advice = "Move some images to testA and testB"
        if config.data.a is not None:
            folders = quote("--a", config.data.a, "--b", config.data.b)
            advice = f"Split some off with `cyclegan data prepare {folders} --test 0.1 -o NEW`"
        yield Finding("note", "no test", text, f"{advice}.")


def _check_counts(train: Sequence[Part], paired: bool) -> Iterator[Finding]:
    few = [part for part in train if part.usable < FEW_IMAGES]
    if few:
        counts = " and ".join(f"{part.usable} in {part.name}" for part in few)
        text = f"There are few images, {counts}: with fewer than {FEW_IMAGES}, networks memorize single images."
        advice = (
            "Collect more, or train with --augment diffaugment, and where images have no up with --rotate; "
            "however long you train, checkpoints/best is the best step."
        )
        yield Finding("warning", "few images", text, advice)
    if len(train) == 2 and not paired:
        small, large = sorted(train, key=lambda part: part.usable)
        ratio = large.usable / max(1, small.usable)
        if ratio >= UNEVEN:
            text = f"{large.name} has {ratio:.0f} times as many images as {small.name}, so those repeat more often."
            level: Level = "warning" if ratio >= VERY_UNEVEN else "note"
            yield Finding(level, "imbalance", text, f"Collect more images for {small.name}.")


def _check_sizes(train: Sequence[Part], config: Config) -> Iterator[Finding]:
    """Images smaller than the crop, much larger than the load size, or of different sizes in one batch."""
    data = config.data
    if not data.preprocess.endswith("crop"):
        if data.batch_size > 1 and len({each.size for part in train for each in part.readable}) > 1:
            text = f"--preprocess {data.preprocess} keeps images of different sizes, which cannot share a batch."
            yield Finding("error", "sizes", text, "Use --batch-size 1, or a --preprocess with a crop.")
        return
    small = match_images(train, lambda each: min(each.size) < data.crop_size, lambda each: "{}x{}".format(*each.size))
    sides = sorted(min(each.size) for part in train for each in part.readable) or [0]
    fitting = sides[len(sides) // 10] // 32 * 32
    has_smaller_crop = 32 <= fitting < data.crop_size
    advice = f"--crop-size {fitting} fits 90% of them." if has_smaller_crop else "Use larger images."
    text = f"are smaller than the crop of {data.crop_size} pixels and get blurred by enlarging."
    yield from finding(small, "small", text, advice, level=MANY)
    for part in train:
        side = _median(min(each.size) for each in part.readable)
        if side >= MUCH_LARGER * data.load_size:
            text = f"Images of {part.name} have {side:.0f} pixels on the shorter side, which are slow to decode."
            advice = f"Downscale them once, to about {2 * data.load_size} pixels, with `cyclegan data prepare`."
            yield Finding("note", "large", text, advice)


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values) or [0.0])


def steps_per_epoch(config: Config, train: SplitFiles) -> int:
    """Optimizer steps of all processes together for all images of the larger domain [R]."""
    images = max(len(train.a), len(train.b))
    processes = local_processes(config.run.devices, config.run.device) * config.run.nodes
    batches = -(-min(images, config.data.max_images or images) // (config.data.batch_size * processes))
    return -(-batches // config.optimizer.accumulate)


def run_steps(config: Config, per_epoch: int) -> int:
    """Steps after which a run ends, unless its minutes are over before."""
    steps = per_epoch * (config.optimizer.epochs + config.optimizer.epochs_decay)
    return min(steps, config.run.max_steps or steps)


def run_length(config: Config, per_epoch: int) -> str:
    """When a run ends, such as "60 minutes (--max-minutes) or 4,000 steps (200 epochs), whichever comes first"."""
    steps, minutes = run_steps(config, per_epoch), config.run.max_minutes
    epochs = float(f"{steps / per_epoch:.3g}")
    length = f"{counted(steps, 'step')} ({epochs:g} epoch{'s' * (epochs != 1)})"
    return length if minutes is None else f"{minutes:g} minutes (--max-minutes) or {length}, whichever comes first"


def forecast(train: SplitFiles, config: Config) -> tuple[str, str]:
    """What training does with these images, in two sentences."""
    data, steps = config.data, steps_per_epoch(config, train)
    preprocessing = POLICIES[data.preprocess].format(load=data.load_size, crop=data.crop_size)
    if data.preprocess == "resize_and_crop" and data.load_size == data.crop_size:
        preprocessing = preprocessing.partition(" and ")[0]
    return (
        preprocessing + (", half of them mirrored." if data.flip else "."),
        f"An epoch has {counted(steps, 'step')}; training takes {run_length(config, steps)}.",
    )


def recommended_command(args: Sequence[str], findings: Sequence[Finding], all_gray: bool) -> str:
    """The command to train with: the user's own arguments, and options that the findings suggest."""
    kinds = {finding.kind for finding in findings}
    preprocess = ["--preprocess", "scale_shortside_and_crop"] if "squeezed" in kinds else []
    augment = ["--augment", "diffaugment"] if "few images" in kinds else []
    channels = ["--channels-a", "1", "--channels-b", "1"] if all_gray else []
    return quote("cyclegan", "train", *args, *preprocess, *augment, *channels)
