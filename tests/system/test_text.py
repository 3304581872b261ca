"""Text in messages."""

from cyclegan.system.text import counted


def test_nouns_are_counted() -> None:
    assert [counted(number, "image") for number in (0, 1, 1200)] == ["0 images", "1 image", "1,200 images"]
