"""What a report shows of one direction: examples, quality, and how translations changed during training."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from cyclegan.config.schema import Config, Direction
from cyclegan.data.layouts import DataFiles, SplitFiles, paired_by_name
from cyclegan.data.select import evenly_spaced, find_pasted_masks, notes_on_masks
from cyclegan.errors import CycleGANError
from cyclegan.evaluation.measure import Pasting, before_and_after, measure_pairs
from cyclegan.evaluation.test_set import MAX_IMAGES
from cyclegan.imaging.decode import image_size, read_pixels
from cyclegan.imaging.image import to_uint8_image
from cyclegan.imaging.source import Source, UnreadableImage
from cyclegan.networks.attention import AttentionGenerator
from cyclegan.runs.grid_layout import find_layout
from cyclegan.runs.results import EVALUATION_FILE, Evaluation, metric_info, read_evaluations
from cyclegan.runs.summary import run_domains, saved_progress
from cyclegan.translation.translator import Translator

EXAMPLES = 8  # per direction
MAX_STEPS, MAX_STRIPS = 8, 2

Rows = Sequence[tuple[Source, ...]]  # inputs, each with its ground truth if known


@dataclass(frozen=True)
class Example:
    """An image before and after translation, with its ground truth if known."""

    name: str
    rank: str  # "best", "median" or "worst"; empty for others
    caption: str  # its metrics
    before: Image.Image
    after: Image.Image
    truth: Image.Image | None = None
    mask: Image.Image | None = None  # of an attention generator: black where the input is kept


@dataclass(frozen=True)
class Strip:
    """A test image and its translations at several steps."""

    before: Image.Image
    steps: tuple[tuple[int, Image.Image], ...]


@dataclass(frozen=True)
class View:
    """Everything a report shows of one direction. `source` and `target` are domain names."""

    direction: Direction
    source: str
    target: str
    strips: tuple[Strip, ...]
    evaluation: Evaluation | None  # stored by `cyclegan evaluate`
    examples: tuple[Example, ...] = ()
    quality: Evaluation | None = None  # against ground truth; None without it
    parameters: int = 0  # of the generator; 0 without a checkpoint


def build_view(
    run: Path, config: Config, domains: DataFiles | None, direction: Direction, translate: bool = True
) -> tuple[View, list[str]]:
    """The view of a direction, and notes on everything that is missing or was changed.

    `domains` is None when the data is missing. Without `translate`, the view has only what is stored in the run folder.
    """
    size = config.data.crop_size
    source, target = run_domains(run, domains)[:: 1 if direction == "AtoB" else -1]
    stored = next((e for e in read_evaluations(run / EVALUATION_FILE) if e.direction == direction), None)
    view = View(direction, source, target, tuple(read_strips(run / "samples", direction, size)), stored)
    if not translate:
        return view, []
    try:
        translator = Translator.load(run, direction)
    except CycleGANError as error:
        return view, [f"Nothing could be translated for this page: {error}"]
    view = replace(view, parameters=sum(p.numel() for p in translator.generator.parameters()))
    if domains is None:
        return view, []
    data = domains.oriented(direction)
    test = data.test
    rows: Rows = [(path,) for path in test.a or data.train.a[:EXAMPLES]]
    larger = any(_shorter_side(row[0]) > size for row in rows[:MAX_IMAGES])
    masks = find_pasted_masks(config, domains, direction)
    pasting = Pasting(masks, config.loss.keep_part) if masks else None
    quality, pairs, notes = _measure_quality(run, translator, test, view, size, pasting)
    notes += notes_on_masks(config, domains, direction)
    ranks, captions = {}, {}
    if quality is not None:
        rows = pairs
        psnr, ssim = quality.metrics["psnr"].per_image, quality.metrics["ssim"].per_image
        captions = {i: f"{psnr[i]:.1f} dB, SSIM {ssim[i]:.2f}" for i in range(len(rows))}
        ranks = {i: rank for rank, i in quality.ranked_images()[1].items()}
    elif stored is not None:
        index = {row[0].stem: i for i, row in enumerate(rows)}
        key, ranked = stored.ranked_images()
        info, values = metric_info(key), stored.metrics[key].per_image
        for rank, i in ranked.items():
            if (row := index.get(stored.names[i])) is not None:
                ranks[row], captions[row] = rank, f"{info.name} {values[i]:.{info.digits}f}"
    if not test.a:
        notes.append(f"There are no test images of {source}; the first training images are shown.")
    if larger:
        also = ", and their ground truth with them" if quality is not None else ""
        notes.append(f"Larger images were scaled down to {size} pixels on the shorter side, the training size{also}.")
    examples = _read_examples(translator, rows, ranks, captions, size, pasting)
    return replace(view, examples=examples, quality=quality), notes


def _shorter_side(path: Source) -> int:
    try:
        return min(image_size(path))
    except UnreadableImage:
        return 0


def _measure_quality(
    run: Path, translator: Translator, test: SplitFiles, view: View, size: int, pasting: Pasting | None
) -> tuple[Evaluation | None, Rows, list[str]]:
    """Quality against ground truth, the test pairs it was measured on, and notes; None without pairs."""
    pairs, notes = paired_by_name(test), []
    chosen = [pairs[i] for i in evenly_spaced(len(pairs), MAX_IMAGES)]
    if not chosen:
        return None, [], []
    try:
        metrics, readable = measure_pairs(translator, chosen, size, pasting)
    except CycleGANError as error:
        return None, [], [str(error)]
    if len(chosen) < len(pairs):
        notes.append(f"Quality was measured on {len(chosen)} of {len(pairs)} test pairs, evenly spaced.")
    if len(readable) < len(chosen):
        notes.append(f"{len(chosen) - len(readable)} of {len(chosen)} test pairs could not be read and were skipped.")
    names, progress = tuple(pair[0].stem for pair in readable), saved_progress(run)
    step = progress[0] if progress else None
    domains = (view.source, view.target)
    return Evaluation(str(run), "latest", step, view.direction, *domains, size, names, metrics), readable, notes


def _read_examples(
    translator: Translator,
    rows: Rows,
    ranks: Mapping[int, str],
    captions: Mapping[int, str],
    size: int,
    pasting: Pasting | None,
) -> tuple[Example, ...]:
    """The ranked rows (by index), then evenly spaced others, translated; unreadable ones are replaced."""
    others = [i for i in range(len(rows)) if i not in ranks]
    spaced = [others[i] for i in evenly_spaced(len(others), EXAMPLES - len(ranks))]
    spare = sorted(set(others) - set(spaced))
    examples: list[Example] = []
    masks = translator.masks() if isinstance(translator.generator, AttentionGenerator) else None
    for i in [*ranks, *spaced, *spare][: 4 * EXAMPLES]:
        if len(examples) == EXAMPLES:
            break
        path, *truth_path = rows[i]
        try:
            before, after = before_and_after(translator, path, size, pasting)
            truth = read_pixels(truth_path[0], translator.output_spec) if truth_path else None
        except UnreadableImage:
            continue
        images = [to_uint8_image(each) for each in (before, after, *([truth.resize(after.size)] if truth else []))]
        example = Example(path.stem, ranks.get(i, ""), captions.get(i, ""), *images)
        if masks is not None:
            example = replace(example, mask=to_uint8_image(masks.translate(before).values.max(2, keepdims=True)))
        examples.append(example)
    return tuple(examples)


def read_strips(samples: Path, direction: str, size: int) -> list[Strip]:
    """Strips of the first images in the grids ``step-NNNNNNN-DIRECTION.png``; empty without intact grids.

    `size` is the width of the images in pixels before the grid enlarged them.
    """
    pattern = re.compile(rf"step-(\d+)-{re.escape(direction)}\.png")
    found = sorted((int(m[1]), p) for p in samples.glob("step-*.png") if (m := pattern.fullmatch(p.name)))
    grids = [(step, _read_grid(path, size)) for step, path in (found[i] for i in evenly_spaced(len(found), MAX_STEPS))]
    grids = [(step, rows) for step, rows in grids if rows]
    if not grids:
        return []
    count = min(MAX_STRIPS, *(len(rows) for _, rows in grids))
    return [Strip(grids[-1][1][row][0], tuple((step, rows[row][1]) for step, rows in grids)) for row in range(count)]


def _read_grid(path: Path, size: int) -> list[tuple[Image.Image, Image.Image]]:
    """Input and translation of each row of a grid at their original size; empty if the file is not a grid."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            sheet = image.convert("RGB")
    except Exception:  # decoders raise almost any exception on damaged files
        return []
    layout = find_layout(*sheet.size, multiple=size)
    if layout is None:
        return []

    def cell(column: int, row: int) -> Image.Image:
        # NEAREST exactly inverts the grid's enlargement
        return sheet.resize((size, size), Image.Resampling.NEAREST, layout.box(column, row))

    return [(cell(0, row), cell(1, row)) for row in range(layout.rows)]
