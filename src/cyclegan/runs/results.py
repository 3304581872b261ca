"""Stored results: the metrics, the evaluation of one direction, and its JSON file."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cyclegan.config.schema import Direction
from cyclegan.metrics.detail import Defect, find_defects
from cyclegan.metrics.intervals import MetricValue
from cyclegan.system.atomic import write_text
from cyclegan.system.text import to_json

EVALUATION_FILE = "evaluation.json"  # in the run folder: what `cyclegan evaluate` measured
REPORT_FILE = "report.json"  # in the run folder: quality against ground truth, as in report.html


IMPROVE = (
    "Train longer (cyclegan resume with a larger budget: --max-minutes, --max-steps or --epochs); if that does not "
    "help, start again with another --generator or --method."
)
DEFECTS: dict[Defect, str] = {
    "dotted": "dotted (a pattern of single pixels)",
    "blurred": "blurred (they have less than half the gradient energy of real images)",
    "too sharp": "too sharp (they have more than twice the gradient energy of real images)",
}


@dataclass(frozen=True)
class MetricInfo:
    """How a metric is displayed and which values are better."""

    name: str
    group: str
    better: Literal["higher", "lower", "neither"]  # neither: closer to the value of real images
    digits: int


TRUTH, SETS, CYCLE, CONTENT = "Against ground truth", "Against target images", "Cycle consistency", "Content"
DETAIL = "Fine detail"

METRICS: dict[str, MetricInfo] = {
    "psnr": MetricInfo("PSNR (dB)", TRUTH, "higher", 2),
    "ssim": MetricInfo("SSIM", TRUTH, "higher", 3),
    "l1": MetricInfo("L1", TRUTH, "lower", 4),
    "lpips": MetricInfo("LPIPS (AlexNet)", TRUTH, "lower", 3),
    "swd": MetricInfo("SWD, mean of scales", SETS, "lower", 0),
    "density": MetricInfo("patch density", SETS, "neither", 3),
    "coverage": MetricInfo("patch coverage", SETS, "higher", 3),
    "kd_efficientnet": MetricInfo("KD (EfficientNet-Lite0)", SETS, "lower", 3),
    "kid": MetricInfo("KID × 1000", SETS, "lower", 2),
    "fid": MetricInfo("FID", SETS, "lower", 1),
    "color_distance": MetricInfo("color distance (of 255)", SETS, "lower", 1),
    "gradient_energy": MetricInfo("gradient energy", DETAIL, "neither", 0),
    "nyquist_ratio": MetricInfo("Nyquist ratio (dots)", DETAIL, "neither", 2),
    "cycle_error": MetricInfo("cycle error (L1)", CYCLE, "lower", 4),
    "kept_8bit": MetricInfo("kept after 8-bit", CYCLE, "higher", 2),
    "kept_blur": MetricInfo("kept after blur", CYCLE, "higher", 2),
    "kept_jpeg": MetricInfo("kept after JPEG", CYCLE, "higher", 2),
    "kept_noise": MetricInfo("kept after noise", CYCLE, "higher", 2),
    "edge_agreement": MetricInfo("edge agreement", CONTENT, "neither", 3),
    "structure_agreement": MetricInfo("structure agreement", CONTENT, "neither", 3),
    "kept_change": MetricInfo("change where kept (L1)", CONTENT, "lower", 4),
    "train_similarity": MetricInfo("training-set similarity", CONTENT, "neither", 3),
    "train_duplicates": MetricInfo("training-set duplicates", CONTENT, "lower", 3),
}


def metric_info(key: str) -> MetricInfo:
    """The metric with this key; "swd_64" is SWD at the scale of 64 pixels. Raises `KeyError` for unknown keys."""
    if key.startswith("swd_"):
        return MetricInfo(f"SWD at {key.removeprefix('swd_')} pixels", SETS, "lower", 0)
    return METRICS[key]


def sort_metrics(keys: Iterable[str]) -> list[str]:
    """Keys in the order of `METRICS`, with the scales of SWD next to their mean."""
    order = list(METRICS)
    return sorted(keys, key=lambda key: order.index("swd" if key.startswith("swd_") else key))


@dataclass(frozen=True)
class Evaluation:
    """All metrics of one direction of one checkpoint, by the keys of `METRICS`."""

    run: str
    checkpoint: str
    step: int | None
    direction: Direction
    source: str  # domain names
    target: str
    size: int  # pixels on the shorter side of the images
    names: tuple[str, ...]  # of the input images
    metrics: dict[str, MetricValue]
    notes: tuple[str, ...] = ()

    def ranked_images(self) -> tuple[str, dict[str, int]]:
        """The metric by which images are ranked, and the indices of the best, median and worst one.

        PSNR where ground truth exists, otherwise cycle error, otherwise edge agreement. No ranks for a single image.
        """
        key = next(key for key in ("psnr", "cycle_error", "edge_agreement") if key in self.metrics)
        values = self.metrics[key].per_image
        order = sorted(range(len(values)), key=values.__getitem__, reverse=METRICS[key].better != "lower")
        ranks = {"best": order[0], "median": order[(len(order) - 1) // 2], "worst": order[-1]}
        return key, ranks if len(order) > 2 else {} if len(order) < 2 else {"best": order[0], "worst": order[-1]}


def quality_sentence(evaluation: Evaluation) -> str:
    """PSNR and SSIM against ground truth with the untranslated baseline; empty without ground truth."""
    if not {"psnr", "ssim"} <= evaluation.metrics.keys():
        return ""
    psnr, ssim = evaluation.metrics["psnr"], evaluation.metrics["ssim"]
    return (
        f"{evaluation.source} to {evaluation.target}: PSNR {psnr.value:.1f} dB, SSIM {ssim.value:.2f} against ground "
        f"truth on {psnr.images:,} test image{'' if psnr.images == 1 else 's'} (untranslated input: "
        f"{psnr.untranslated:.1f} dB, {ssim.untranslated:.2f})."
    )


def target_distance(evaluation: Evaluation) -> tuple[str, MetricValue] | None:
    """The most meaningful measured distance from the target domain, as name and value; None without one."""
    key = next((key for key in ("kid", "fid", "kd_efficientnet", "swd") if key in evaluation.metrics), None)
    return None if key is None else (METRICS[key].name, evaluation.metrics[key])


def is_worse_than_input(evaluation: Evaluation) -> bool | None:
    """Whether translations are further from the target than their inputs; None if the interval leaves that open."""
    _, value = target_distance(evaluation) or ("", MetricValue(0.0, 0))
    if value.untranslated is None:
        return None
    low, high = value.interval or (value.value, value.value)
    return True if low > value.untranslated else False if high < value.untranslated else None


def evaluation_headline(evaluation: Evaluation) -> str:
    """One sentence: whether translations are closer to the target domain than their inputs, and how their detail is.

    If they are not closer, another sentence says what to do.
    """
    metrics, start, target = evaluation.metrics, f"{evaluation.source} to {evaluation.target}:", evaluation.target
    found = target_distance(evaluation)
    if found is None:
        return f"{start} a single image is too few to measure the distance from real images of {target}."
    further = is_worse_than_input(evaluation)
    state = {True: "further from", False: "closer to", None: "not clearly closer to"}[further]
    compared = [found] + [(METRICS[key].name, metrics[key]) for key in ("ssim",) if key in metrics]
    values = "; ".join(f"{name} {each.value:.3g}, untranslated {each.untranslated:.3g}" for name, each in compared)
    text = f"{start} translations are {state} real images of {target} than the untranslated inputs ({values})"
    if "nyquist_ratio" in metrics:  # not in files of earlier versions
        energy, dots = metrics["gradient_energy"], metrics["nyquist_ratio"]
        defects = find_defects(energy.value, energy.real or 0.0, dots.value, dots.real or 0.0)
        if defects:
            text += f", {'but' if further is False else 'and'} {' and '.join(DEFECTS[each] for each in defects)}"
    return f"{text}. {'' if further is False else IMPROVE}".replace("-0.", "−0.").rstrip()


def write_evaluations(evaluations: Sequence[Evaluation], file: Path) -> None:
    """Write a JSON file atomically. Raises `CycleGANError`."""
    write_text(file, to_json([asdict(each) for each in evaluations]) + "\n")


def read_evaluations(file: Path) -> list[Evaluation]:
    """The evaluations in a file of `write_evaluations`; empty if it is missing, damaged or of another version."""
    try:
        found = []
        for table in json.loads(file.read_text(encoding="utf-8")):
            metrics = {key: _metric_value(**value) for key, value in table.pop("metrics").items() if metric_info(key)}
            names, notes = tuple(table.pop("names")), tuple(table.pop("notes"))
            found.append(Evaluation(**table, metrics=metrics, names=names, notes=notes))
        return found
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []


def _metric_value(value: Any, images: int, interval: Any, untranslated: Any, real: Any, per_image: Any) -> MetricValue:
    interval = interval and (float(interval[0]), float(interval[1]))
    untranslated, real = (None if each is None else float(each) for each in (untranslated, real))
    return MetricValue(float(value), images, interval, untranslated, real, tuple(map(float, per_image)))
