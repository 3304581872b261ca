"""Parsing of pixel settings: value ranges and colors."""

import math
import re
from typing import NamedTuple

ValueRange = tuple[float, float]  # the stored values of black and white

RANGE_FORM = "two increasing numbers such as '0 4095', or percentiles such as '1% 99%'"
COLOR_FORM = "white, black or a color such as #8090a0"
_COLORS = {"white": (255, 255, 255), "black": (0, 0, 0)}


class Range(NamedTuple):
    """A range of stored values, or of percentiles of the values of all images."""

    low: float
    high: float
    percentiles: bool = False

    def __str__(self) -> str:
        """As written in a configuration."""
        sign = "%" if self.percentiles else ""
        return f"{self.low:.9g}{sign} {self.high:.9g}{sign}"


def parse_range(text: str) -> Range:
    """Parse ``"LOW HIGH"`` or ``"LOW% HIGH%"``. Raises `ValueError` unless it is a `RANGE_FORM`."""
    words = text.replace(",", " ").split()
    percentiles = len(words) == 2 and all(word.endswith("%") for word in words)
    low, high = (float(word.removesuffix("%") if percentiles else word) for word in words)
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError("the range is not increasing")
    if percentiles and not (low >= 0 and high <= 100):
        raise ValueError("percentiles must be between 0% and 100%")
    return Range(low, high, percentiles)


def fixed_range(text: str | None) -> ValueRange | None:
    """The value range of a setting; None if it is unset or given as percentiles."""
    found = parse_range(text) if text is not None else None
    return (found.low, found.high) if found is not None and not found.percentiles else None


def parse_color(text: str) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255. Raises `ValueError` unless it is a `COLOR_FORM`."""
    if text in _COLORS:
        return _COLORS[text]
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(f"{text!r} is not a color")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue
