"""What settings say of pixels in words: the range of their values, and colors."""

import math
import re
from typing import NamedTuple

Span = tuple[float, float]  # the stored values that are taken for black and for white

RANGE_FORM = "two rising numbers such as '0 4095', or shares of all values such as '1% 99%'"
COLOR_FORM = "white, black or a color such as #8090a0"
_COLORS = {"white": (255, 255, 255), "black": (0, 0, 0)}


class Range(NamedTuple):
    """A range of values, in their own unit or as percentiles of a set of images."""

    low: float
    high: float
    percentiles: bool = False

    def __str__(self) -> str:
        """As it stands in a configuration."""
        sign = "%" if self.percentiles else ""
        return f"{self.low:.9g}{sign} {self.high:.9g}{sign}"


def parse_range(text: str) -> Range:
    """``"LOW HIGH"`` or ``"LOW% HIGH%"``. Raises `ValueError` for anything else."""
    words = text.replace(",", " ").split()
    percentiles = len(words) == 2 and all(word.endswith("%") for word in words)
    low, high = (float(word.removesuffix("%") if percentiles else word) for word in words)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError("the range does not rise")
    if percentiles and not (low >= 0 and high <= 100):
        raise ValueError("there are shares from 0% to 100% only")
    return Range(low, high, percentiles)


def span_of(text: str | None) -> Span | None:
    """The range that a setting states in numbers; None if it states none."""
    found = parse_range(text) if text is not None else None
    return (found.low, found.high) if found is not None and not found.percentiles else None


def parse_color(text: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255. Raises `ValueError` unless it is of `COLOR_FORM`."""
    if text in _COLORS:
        return _COLORS[text]
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(f"{text!r} is no color")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue
