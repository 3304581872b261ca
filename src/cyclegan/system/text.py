"""Formatting of numbers and plain data as text."""

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Iterable
from typing import Any


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural if needed: "1 image", "1,200 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(words: Iterable[object]) -> str:
    """Words as a part of a sentence: "a", "a and b", "a, b and c"; empty without any."""
    *first, last = ["", *map(str, words)]
    return " and ".join(filter(None, (", ".join(first[1:]), last)))


def format_duration(minutes: float) -> str:
    """Minutes as text: "40 seconds", "5 minutes", "2 h 30 min", "3.1 days"."""
    if minutes < 1.5:
        return counted(round(minutes * 60), "second")
    if minutes < 100:
        return counted(round(minutes), "minute")
    if minutes >= 48 * 60:
        return f"{minutes / 1440:.1f} days"
    hours, rest = divmod(round(minutes), 60)
    return f"{hours} h {rest:02d} min"


def format_seconds(seconds: float) -> str:
    """A short time as text: "0.12 s", "15 s"."""
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:,.0f} s"


def quote(*words: object, windows: bool = sys.platform == "win32") -> str:
    """Words of a command line, quoted where the shell needs it; those of Windows know double quotes only."""
    texts = [str(word) for word in words]
    return subprocess.list2cmdline(texts) if windows else shlex.join(texts)


def to_json(content: Any) -> str:
    """Plain data as JSON, in ASCII; non-finite numbers become the strings "inf", "-inf" and "nan"."""
    return json.dumps(_finite(content), indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
