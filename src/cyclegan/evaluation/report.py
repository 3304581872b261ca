"""``report.html`` of a run: one file without network or script, to look at and to show to others."""

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from cyclegan import __version__
from cyclegan.config import Config, to_toml
from cyclegan.data.folders import Domain, Domains, find_domains, paired_by_name
from cyclegan.data.images import UnreadableImage, check_header, read_image
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.evaluation.curves import draw_curves, read_metrics
from cyclegan.evaluation.paired import AgainstTruth, against_truth
from cyclegan.training.samples import GAP, HEADING
from cyclegan.training.trainer import read_run
from cyclegan.translation.translator import Direction, Translator, find_checkpoint, scaled, trained_steps

SHOWN = 8  # test images in each direction
MEASURED = 500  # test pairs at most
STAGES = 8  # pictures in a strip over time
DIRECTIONS: tuple[Direction, ...] = ("AtoB", "BtoA")


@dataclass(frozen=True)
class Written:
    """Where the report is, and what is worth saying of it in the terminal."""

    path: Path
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Example:
    """One test image before and after, as data URIs, with its truth and figures where there are any."""

    before: str
    after: str
    truth: str | None = None
    caption: str = ""


@dataclass(frozen=True)
class DirectionReport:
    """What the page shows of one direction."""

    title: str
    examples: list[Example] = field(default_factory=list)
    strip: list[tuple[int, str]] = field(default_factory=list)  # step and picture
    strip_input: str = ""
    measured: AgainstTruth | None = None


def write_report(run: Path) -> Written:
    """Write ``report.html`` into a run folder, with what the run holds; what is missing is said on the page.

    Raises `UsageError` for a folder that is no run, and `CycleGANError` when the page cannot be written.
    """
    import jinja2

    config = read_run(run)
    notes: list[str] = []
    domains = _domains(config, notes)
    directions = [_direction(run, config, domains, d, notes) for d in DIRECTIONS]
    metrics = read_metrics(run / "metrics.csv")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cyclegan.evaluation"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("report.html").render(
        name=run.resolve().name,
        run=run,
        version=__version__,
        directions=directions,
        summary=_summary(run, config, domains, metrics),
        curves=draw_curves(metrics),
        config=to_toml(config),
        notes=dict.fromkeys(notes),
    )
    path = run / "report.html"
    temporary = run / ".report.html"
    try:
        temporary.write_text(page, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise CycleGANError(f"{path} cannot be written: {error.strerror}.") from None
    return Written(path, tuple(_sentence(d.title, d.measured) for d in directions if d.measured))


def _sentence(title: str, measured: AgainstTruth) -> str:
    low, high = measured.interval("psnr")
    return (
        f"{title}: PSNR {measured.mean('psnr'):.1f} dB (95 % interval {low:.1f} to {high:.1f}), "
        f"SSIM {measured.mean('ssim'):.2f} against truth on {len(measured.pairs)} test images; "
        f"untranslated: {measured.mean('untranslated_psnr'):.1f} dB, {measured.mean('untranslated_ssim'):.2f}."
    )


def _domains(config: Config, notes: list[str]) -> Domains:
    data = config.data
    try:
        return find_domains(data.data, data.a, data.b)
    except UsageError as error:
        notes.append(f"The training data is no longer there, so nothing could be translated for this page: {error}")
        return Domains(Domain(), Domain())


def _direction(
    run: Path, config: Config, domains: Domains, direction: Direction, notes: list[str]
) -> DirectionReport:
    source, target = ("a", "b") if direction == "AtoB" else ("b", "a")
    first, second = domains.names if direction == "AtoB" else domains.names[::-1]
    title = f"{first} to {second}"
    strip_input, strip = _strip(run, direction)
    try:
        translator = Translator.load(run, direction)
    except CycleGANError as error:
        notes.append(f"There are no translations on this page: {error}")
        return DirectionReport(title, strip=strip, strip_input=strip_input)

    files: Sequence[Path] = getattr(domains.test, source)
    if not files and (files := getattr(domains.train, source)):
        notes.append("There is no test set; the images on this page were trained on.")
    size = _size(files, config)
    if size != "keep":
        notes.append(f"Test images were scaled to {size} pixels on the shorter side, as in training.")
    pairs = [(p[0], p[1]) if source == "a" else (p[1], p[0]) for p in paired_by_name(domains.test)]
    if not pairs:
        examples = [_example(translator, path, size) for path in _evenly(files, SHOWN)]
        return DirectionReport(title, [e for e in examples if e], strip, strip_input)
    if len(pairs) > MEASURED:
        notes.append(f"Figures are from {MEASURED} of {len(pairs)} test pairs, evenly chosen.")
    measured = against_truth(translator, direction, _evenly(pairs, MEASURED), size)
    return DirectionReport(title, _examples_with_truth(translator, measured, size), strip, strip_input, measured)


def _size(files: Sequence[Path], config: Config) -> int | Literal["keep"]:
    """The training size, for test images that are larger."""
    sides = []
    for path in _evenly(files, 20):
        try:
            sides.append(min(check_header(path)))
        except UnreadableImage:
            continue
    return config.data.crop_size if sides and max(sides) > config.data.crop_size else "keep"


def _examples_with_truth(
    translator: Translator, measured: AgainstTruth, size: int | Literal["keep"]
) -> list[Example]:
    """The best, the median and the worst pair, and others evenly between them."""
    ranked = sorted(measured.pairs, key=lambda pair: -pair.psnr)
    names = {0: "best", len(ranked) // 2: "median", len(ranked) - 1: "worst"}
    examples = []
    for number in sorted({*_evenly(range(len(ranked)), SHOWN), *names}):
        pair = ranked[number] if ranked else None
        if pair is not None:
            word = f"{names[number]}: " if number in names else ""
            caption = f"{word}{pair.psnr:.1f} dB, SSIM {pair.ssim:.2f}"
            example = _example(translator, pair.source, size, pair.truth, caption)
            examples += [example] if example else []
    return examples


def _example(
    translator: Translator, path: Path, size: int | Literal["keep"], truth: Path | None = None, caption: str = ""
) -> Example | None:
    try:
        before = scaled(read_image(path, translator.in_channels), size)
        wanted = read_image(truth, translator.out_channels).resize(before.size) if truth else None
    except UnreadableImage:
        return None
    after = translator.translate(before)
    return Example(_uri(before), _uri(after), _uri(wanted) if wanted else None, caption)


def _strip(run: Path, direction: Direction) -> tuple[str, list[tuple[int, str]]]:
    """The first fixed test image, and its translation at steps evenly over the training, from the sample grids."""
    found = {
        int(match[1]): path
        for path in sorted((run / "samples").glob(f"step-*-{direction}.png"))
        if (match := re.fullmatch(rf"step-(\d+)-{direction}\.png", path.name))
    }
    strip, source = [], ""
    for step in _evenly(sorted(found), STAGES):
        try:
            sheet = read_image(found[step])
        except UnreadableImage:
            continue
        side = (sheet.width - 3 * GAP) // 4
        source = _uri(sheet.crop((0, HEADING, side, HEADING + side)))
        strip.append((step, _uri(sheet.crop((side + GAP, HEADING, 2 * side + GAP, HEADING + side)))))
    return source, strip


def _evenly(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` items, evenly chosen, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _uri(image: Image.Image) -> str:
    """A picture of at most 320 pixels on its longer side, small ones as PNG, as a data URI."""
    image = image.copy()
    image.thumbnail((320, 320), Image.Resampling.LANCZOS)
    kind = "PNG" if max(image.size) <= 96 else "JPEG"
    data = io.BytesIO()
    image.save(data, kind, **({"quality": 88} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data.getvalue()).decode()}"


def _summary(run: Path, config: Config, domains: Domains, metrics: dict[str, list[float]]) -> list[tuple[str, str]]:
    """The run in words, as pairs of a heading and what is said."""
    data, networks, loss, optimiser = config.data, config.networks, config.loss, config.optimiser
    a, b = domains.names
    images = f"{len(domains.train.a):,} of {a} and {len(domains.train.b):,} of {b}"
    if domains.test.a or domains.test.b:
        images += f"; {len(domains.test.a):,} and {len(domains.test.b):,} to test"
    identity = f"identity loss {loss.lambda_identity:g}" if loss.lambda_identity else "no identity loss"
    rows = [
        ("Images", images),
        ("Seen as", f"{data.crop_size}×{data.crop_size} pixels ({data.preprocess.replace('_', ' ')})"),
        ("Generators", _network_words(networks.generator, networks.generator_width, networks.blocks)),
        ("Discriminators", f"{networks.discriminator} PatchGAN, width {networks.discriminator_width}"),
        ("Objective", f"{loss.objective}, cycle {loss.lambda_a:g} and {loss.lambda_b:g}, {identity}"),
        ("Optimiser", f"Adam, learning rate {optimiser.learning_rate:g}, {optimiser.schedule} schedule"),
    ]
    return [*rows, *_trained(run, config, metrics)]


def _network_words(name: str, width: int, blocks: int) -> str:
    words = {"resnet": f"ResNet with {blocks} blocks", "resnet_light": f"light ResNet with {blocks} blocks"}
    return f"{words.get(name, name.replace('_', ' '))}, width {width}"


def _trained(run: Path, config: Config, metrics: dict[str, list[float]]) -> list[tuple[str, str]]:
    try:
        steps = trained_steps(find_checkpoint(run))
    except CycleGANError:
        return [("Trained", "not yet")]
    images = steps * config.data.batch_size * config.optimiser.accumulate
    words = f"{steps:,} steps, {images:,} images of each domain"
    if metrics.get("minutes"):
        minutes = metrics["minutes"][-1]
        words += f", in {minutes / 60:.1f} hours" if minutes >= 120 else f", in {minutes:.1f} minutes"
    return [("Trained", words)]
