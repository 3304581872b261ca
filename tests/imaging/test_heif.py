"""HEIC and AVIF images: reading, their orientation, results, and what is said without the extra."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from cyclegan import UsageError
from cyclegan.cli.main import run as run_command
from cyclegan.data.layouts import find_domains
from cyclegan.imaging.decode import image_size, read_header, read_image
from cyclegan.imaging.source import UnreadableImage
from cyclegan.translation.files import find, plan

pillow_heif = pytest.importorskip("pillow_heif")
KINDS = [
    ("heic", "HEIF"),
    pytest.param("avif", "AVIF", marks=pytest.mark.skipif(not features.check("avif"), reason="")),
]


def photo() -> Image.Image:
    """Red on the left, blue on the right."""
    values = np.zeros((40, 60, 3), np.uint8)
    values[:, :30, 0] = values[:, 30:, 2] = 200
    return Image.fromarray(values)


def save(path: Path, orientation: int = 1) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".avif":
        photo().save(path, exif=exif)
    else:
        pillow_heif.from_pillow(photo()).save(path, quality=95, exif=exif.tobytes())
    return path


@pytest.mark.parametrize(("suffix", "kind"), KINDS)
def test_photos_are_read_upright(tmp_path: Path, suffix: str, kind: str) -> None:
    plain, turned = save(tmp_path / f"plain.{suffix}"), save(tmp_path / f"turned.{suffix}", 6)
    assert read_header(plain).kind == kind
    for path, expected in ((plain, photo()), (turned, photo().transpose(Image.Transpose.ROTATE_270))):
        image = read_image(path)
        assert image.size == image_size(path) == expected.size
        assert np.abs(np.asarray(image).astype(int) - np.asarray(expected)).mean() < 12


def test_results_of_photos_are_png(tmp_path: Path) -> None:
    for name in ("x.heic", "y.AVIF"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).touch()
    assert [job.target.name for job in plan(find([tmp_path / "in"]), tmp_path / "out")] == ["x.png", "y.png"]
    with pytest.raises(UsageError, match=r"z.heic cannot be written; its suffix must be one of .bmp"):
        plan(find([tmp_path / "in" / "x.heic"]), tmp_path / "z.heic")


def test_prepared_photos_are_png(tmp_path: Path) -> None:
    for domain in "AB":
        save(tmp_path / domain / f"{domain}.heic")
    run_command(["data", "prepare", str(tmp_path), "-o", str(tmp_path / "small"), "--size", "20"])
    assert read_image(tmp_path / "small" / "trainA" / "A.png").size == (30, 20)


def test_without_the_extra_one_sentence_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for domain in "AB":
        save(tmp_path / domain / f"{domain}.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    install = r'to read HEIC, install: pip install "cyclegan\[heif\]"\.$'
    with pytest.raises(UsageError, match=f"A contains 1 image, all HEIC; {install}"):
        find_domains(tmp_path)
    with pytest.raises(UnreadableImage, match=f"A.heic is a HEIC image; {install}"):
        read_image(tmp_path / "A" / "A.heic")
