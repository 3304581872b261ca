"""Which images a report shows, and what the run's generators make of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from cyclegan.config.schema import Config, Direction
from cyclegan.data.layouts import DataFiles, SplitFiles, paired_by_name
from cyclegan.data.samples import evenly_spaced
from cyclegan.errors import CycleGANError
from cyclegan.evaluation.paired import Paired, Score, against_truth, before_and_after
from cyclegan.evaluation.report.strips import Strip, read_strips
from cyclegan.imaging.decode import image_size, read_pixels
from cyclegan.imaging.image import to_uint8_image
from cyclegan.imaging.source import Source, UnreadableImage
from cyclegan.runs import results as figures
from cyclegan.runs.results import Evaluation, metric
from cyclegan.translation.translator import Translator

SHOWN = 8  # test images of each direction
MOST_PAIRS = 500  # that count for the figures
_TRIES = 4  # unreadable images are replaced, at most so many times as many are looked at


@dataclass(frozen=True)
class Example:
    """One image before and after, beside the truth and its figures where they are known."""

    name: str
    before: Image.Image
    after: Image.Image
    truth: Image.Image | None = None
    score: Score | None = None
    rank: str = ""  # "best", "median" or "worst", by PSNR or by `figure`
    figure: str = ""  # what it is ranked by where there is no truth, in words


@dataclass(frozen=True)
class View:
    """All that a report shows of one direction. `source` and `target` are the domains' names."""

    direction: Direction
    source: str
    target: str
    examples: tuple[Example, ...]
    strips: tuple[Strip, ...]
    paired: Paired | None
    parameters: int  # of the generator; 0 when there is none
    evaluation: Evaluation | None = None  # what `cyclegan evaluate` measured, if it did


def look(run: Path, config: Config, domains: DataFiles | None, direction: Direction) -> tuple[View, list[str]]:
    """Everything there is to show of a direction, and a sentence for each thing that is missing or was changed.

    `domains` is None when the data is not there.
    """
    forward = direction == "AtoB"
    names = domains.names if domains is not None else ("A", "B")
    source, target = names if forward else names[::-1]
    size = config.data.crop_size
    view = View(direction, source, target, (), tuple(read_strips(run / "samples", direction, size)), None, 0)
    view = replace(
        view, evaluation=next((e for e in figures.read(run / figures.FILE) if e.direction == direction), None)
    )
    try:
        translator = Translator.load(run, direction)
    except CycleGANError as error:
        return view, [f"Nothing could be translated for this page: {error}"]
    view = replace(view, parameters=sum(p.numel() for p in translator.generator.parameters()))
    if domains is None:
        return view, []
    test, train = (d if forward else d.swapped() for d in (domains.test, domains.train))
    files = test.a or train.a[:SHOWN]
    paired, notes = _measure(translator, test, size, direction)
    if paired is not None:
        examples = _ranked(translator, paired, size)
    else:
        examples = _by_evaluation(_unranked(translator, _measured_first(files, view.evaluation), size), view.evaluation)
    if not test.a:
        notes.append(f"There are no test images of {source}; the first training images are shown.")
    if any(min(check_size(path)) > size for path in files[:MOST_PAIRS]):
        with_truth = ", and the truth with them" if paired is not None else ""
        notes.append(
            f"Larger images were scaled to {size} pixels on the shorter side, the size of training{with_truth}."
        )
    return replace(view, examples=tuple(examples), paired=paired), notes


def check_size(path: Source) -> tuple[int, int]:
    """Width and height from the header; (0, 0) for an unreadable file."""
    try:
        return image_size(path)
    except UnreadableImage:
        return 0, 0


def _measure(
    translator: Translator, test: SplitFiles, size: int, direction: Direction
) -> tuple[Paired | None, list[str]]:
    pairs = paired_by_name(test)
    chosen = [pairs[i] for i in evenly_spaced(len(pairs), MOST_PAIRS)]
    if not chosen:
        return None, []
    try:
        paired = against_truth(translator, chosen, size, direction)
    except CycleGANError as error:
        return None, [str(error)]
    notes = []
    if len(chosen) < len(pairs):
        notes.append(f"Figures are from {len(chosen)} of {len(pairs)} test pairs, evenly chosen.")
    if paired.images < len(chosen):
        notes.append(f"{len(chosen) - paired.images} of {len(chosen)} test pairs could not be read and do not count.")
    return paired, notes


def _ranked(translator: Translator, paired: Paired, size: int) -> list[Example]:
    """Best, median and worst by PSNR, then others evenly from what is left."""
    by_psnr = sorted(paired.scores, key=lambda score: -score.psnr)
    named = {by_psnr[i].source: by_psnr[i] for i in (0, (len(by_psnr) - 1) // 2, len(by_psnr) - 1)}
    rest = [score for score in paired.scores if score.source not in named]
    rest = [rest[i] for i in evenly_spaced(len(rest), SHOWN - len(named))]
    ranks = ("best", "median", "worst") if len(named) == 3 else ("best", "worst")[: len(named)]
    ranks = ranks if len(by_psnr) > 1 else ("",)
    scores = zip([*named.values(), *rest], [*ranks, *[""] * len(rest)], strict=True)
    return [e for score, rank in scores if (e := _with_truth(translator, score, rank, size)) is not None]


def _with_truth(translator: Translator, score: Score, rank: str, size: int) -> Example | None:
    try:
        image, truth = (
            read_pixels(score.source, translator.input_spec),
            read_pixels(score.truth, translator.output_spec),
        )
    except UnreadableImage:  # it could be read a moment ago; the file is gone
        return None
    before, after = before_and_after(translator, image, size)
    return Example(
        score.source.stem,
        to_uint8_image(before),
        to_uint8_image(after),
        to_uint8_image(truth.resize(after.size)),
        score,
        rank,
    )


def _measured_first(files: Sequence[Source], evaluation: Evaluation | None) -> tuple[list[Source], Sequence[Source]]:
    """The best, the median and the worst of the files by what was measured, and the others."""
    ranked = evaluation.ranked() if evaluation is not None else None
    if evaluation is None or ranked is None:
        return [], files
    by_name = {path.stem: path for path in files}
    first = [by_name[name] for i in ranked[1] if (name := evaluation.names[i]) in by_name]
    return first, [path for path in files if path not in first]


def _by_evaluation(examples: list[Example], evaluation: Evaluation | None) -> list[Example]:
    """The examples with rank and figure where they were measured as best, median or worst."""
    ranked = evaluation.ranked() if evaluation is not None else None
    if evaluation is None or ranked is None:
        return examples
    key, numbers = ranked
    said = {
        evaluation.names[i]: (rank, f"{metric(key).name} {evaluation.figures[key].each[i]:.{metric(key).digits}f}")
        for rank, i in zip(("best", "median", "worst"), numbers, strict=True)
    }
    return [replace(e, rank=said[e.name][0], figure=said[e.name][1]) if e.name in said else e for e in examples]


def _unranked(translator: Translator, files: tuple[list[Source], Sequence[Source]], size: int) -> list[Example]:
    """The first files, and evenly chosen others; where one cannot be read the next that can is taken."""
    first, others = files
    chosen = [*first, *(others[i] for i in evenly_spaced(len(others), SHOWN - len(first)))]
    spare = [path for path in others if path not in set(chosen)]
    examples: list[Example] = []
    for path in [*chosen, *spare][: _TRIES * SHOWN]:
        if len(examples) == SHOWN:
            break
        try:
            image = read_pixels(path, translator.input_spec)
        except UnreadableImage:
            continue
        before, after = before_and_after(translator, image, size)
        examples.append(Example(path.stem, to_uint8_image(before), to_uint8_image(after)))
    return examples
