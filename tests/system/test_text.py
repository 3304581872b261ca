"""Text in messages."""

from cyclegan.system.text import counted, format_seconds


def test_nouns_are_counted() -> None:
    assert [counted(number, "image") for number in (0, 1, 1200)] == ["0 images", "1 image", "1,200 images"]


def test_seconds_have_two_digits_or_more() -> None:
    assert [format_seconds(s) for s in (0.1234, 1.26, 12.6, 153)] == ["0.12 s", "1.3 s", "13 s", "153 s"]
