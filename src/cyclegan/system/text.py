"""Formatting of text for messages."""


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural if needed: "1 image", "1,200 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
