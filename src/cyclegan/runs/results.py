"""What is measured of a translation: the names of the metrics, one figure, and all figures of a direction."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cyclegan.config.schema import Direction
from cyclegan.system.atomic import write_text

Interval = tuple[float, float]


@dataclass(frozen=True)
class Metric:
    """How a figure is headed, said and judged."""

    name: str
    group: str
    better: Literal["higher", "lower", "neither"]  # neither: it should be near that of real images
    digits: int


TRUTH, SETS, CYCLE, CONTENT = "Against truth", "Against the target's images", "Cycle", "Content"

METRICS: dict[str, Metric] = {
    "psnr": Metric("PSNR, dB", TRUTH, "higher", 2),
    "ssim": Metric("SSIM", TRUTH, "higher", 3),
    "l1": Metric("L1", TRUTH, "lower", 4),
    "lpips": Metric("LPIPS, AlexNet", TRUTH, "lower", 3),
    "swd": Metric("SWD, mean of scales", SETS, "lower", 0),
    "density": Metric("density of patches", SETS, "neither", 3),
    "coverage": Metric("coverage of patches", SETS, "higher", 3),
    "kid_efficientnet": Metric("KD, EfficientNet-Lite0", SETS, "lower", 3),
    "kid": Metric("KID × 1000", SETS, "lower", 2),
    "fid": Metric("FID", SETS, "lower", 1),
    "colors": Metric("colors, levels of 255", SETS, "lower", 1),
    "cycle": Metric("cycle error, L1", CYCLE, "lower", 4),
    "survives 8 bits": Metric("survives 8 bits", CYCLE, "higher", 2),
    "survives blur": Metric("survives blur", CYCLE, "higher", 2),
    "survives JPEG": Metric("survives JPEG", CYCLE, "higher", 2),
    "survives noise": Metric("survives noise", CYCLE, "higher", 2),
    "edges": Metric("edges kept", CONTENT, "neither", 3),
    "structure": Metric("structure kept", CONTENT, "neither", 3),
    "nearest": Metric("nearest training image", CONTENT, "neither", 3),
    "copies": Metric("share of copies", CONTENT, "lower", 3),
}


def metric(key: str) -> Metric:
    """The metric of a key; "swd 64" is SWD at the scale of 64 pixels."""
    if key.startswith("swd "):
        return Metric(f"SWD at {key.removeprefix('swd ')} pixels", SETS, "lower", 0)
    return METRICS[key]


def ordered(keys: Iterable[str]) -> list[str]:
    """Keys in the order of `METRICS`; the scales of SWD stand where their mean does."""
    order = list(METRICS)
    return sorted(keys, key=lambda key: order.index("swd" if key.startswith("swd ") else key))


@dataclass(frozen=True)
class Figure:
    """One figure with what is needed to trust it."""

    value: float
    images: int  # that it was measured on
    interval: Interval | None = None  # 95 %; None where it cannot be told
    untranslated: float | None = None  # the same figure of the inputs as they are
    real: float | None = None  # the same figure of real images of the target; of content, of the truth
    each: tuple[float, ...] = ()  # of every image, in the order of `Evaluation.names`; empty for sets


@dataclass(frozen=True)
class Evaluation:
    """All figures of one direction of one checkpoint, by the keys of `METRICS`."""

    run: str
    checkpoint: str
    step: int | None
    direction: Direction
    source: str  # what the domains are called
    target: str
    size: int  # pixels of width and height that all images were brought to
    names: tuple[str, ...]  # of the inputs
    figures: dict[str, Figure]
    notes: tuple[str, ...] = field(default=())

    def ranked(self) -> tuple[str, tuple[int, int, int]] | None:
        """By which metric to rank the images, and the numbers of the best, the median and the worst one.

        By PSNR where the truth is known, else by the cycle's error, else by edges. None for fewer than three images.
        """
        for key in ("psnr", "cycle", "edges"):
            if key in self.figures and len(each := self.figures[key].each) > 2:
                order = sorted(range(len(each)), key=lambda i: each[i], reverse=METRICS[key].better != "lower")
                return key, (order[0], order[(len(order) - 1) // 2], order[-1])
        return None


FILE = "evaluation.json"  # in the run folder


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def write(evaluations: Sequence[Evaluation], file: Path) -> None:
    """Write a JSON file, whole or not at all. Raises `CycleGANError`."""
    write_plain([asdict(each) for each in evaluations], file)


def write_plain(content: Any, file: Path) -> None:
    """Write plain data as `write` does; numbers that are not finite become text: "inf", "-inf" or "nan"."""
    write_text(file, json.dumps(_plain(content), indent=1, allow_nan=False) + "\n")


def read(file: Path) -> list[Evaluation]:
    """What `write` wrote; empty where there is no such file, or not one of this version."""
    try:
        return [_evaluation(each) for each in json.loads(file.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return []


def _evaluation(table: dict[str, Any]) -> Evaluation:
    figures = {key: _figure(value) for key, value in table["figures"].items() if metric(key)}
    made = Evaluation(**(table | {"figures": figures}))
    return replace(made, names=tuple(made.names), notes=tuple(made.notes))


def _figure(table: dict[str, Any]) -> Figure:
    low_high = table["interval"]
    return Figure(
        value=float(table["value"]),
        images=int(table["images"]),
        interval=None if low_high is None else (float(low_high[0]), float(low_high[1])),
        untranslated=None if table["untranslated"] is None else float(table["untranslated"]),
        real=None if table["real"] is None else float(table["real"]),
        each=tuple(map(float, table["each"])),
    )
