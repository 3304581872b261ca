"""Translating from and to places elsewhere, by fsspec's file system in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import draw_images
from cyclegan import UsageError
from cyclegan.cli.main import run as run_command
from serving import write_tiny_model

UPath = pytest.importorskip("upath").UPath
PHOTOS, OUT = "memory://bucket/photos", "memory://bucket/out"


@pytest.fixture
def words(tmp_path: Path) -> Iterator[list[str]]:
    """The command, for a bucket with five images in two folders, one of them damaged, and other files."""
    draw_images(tmp_path / "photos", 3, 0)
    image = (tmp_path / "photos" / "00.png").read_bytes()
    bucket = UPath(PHOTOS)
    for name, content in {"deep/a.png": image, ".hidden/b.png": image, "notes.txt": b"", "damaged.png": b"no"}.items():
        (bucket / name).parent.mkdir(parents=True, exist_ok=True)
        (bucket / name).write_bytes(content)
    for file in (tmp_path / "photos").iterdir():
        (bucket / file.name).write_bytes(file.read_bytes())
    yield ["translate", str(write_tiny_model(tmp_path / "model")), "--device", "cpu"]
    bucket.fs.rm("/bucket", recursive=True)


def contents(folder: Any) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix == ".png"}


def test_a_folder_is_translated_to_another_place_and_resumed(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_command([*words, str(tmp_path / "photos"), "-o", str(tmp_path / "local")])
    with pytest.raises(SystemExit):
        run_command([*words, PHOTOS, "-o", OUT])
    out, err = capsys.readouterr()
    assert f"4 of 5 images translated to {OUT}" in out
    assert f"{PHOTOS}/damaged.png is not an image" in err
    expected = contents(tmp_path / "local")
    assert contents(UPath(OUT)) == expected
    assert contents(UPath(OUT) / "deep") == {"a.png": expected["00.png"]}
    with pytest.raises(UsageError, match=r"out/00.png and 3 more results exist"):
        run_command([*words, PHOTOS, "-o", OUT])
    UPath(OUT, "01.png").write_bytes(b"kept")
    UPath(OUT, "02.png").unlink()
    run_command([*words, f"{PHOTOS}/0?.png", "-o", OUT, "--resume"])
    assert contents(UPath(OUT)) == expected | {"01.png": b"kept"}
    assert "1 of 1 images translated to memory://bucket/out; 2 existed" in capsys.readouterr().out


def test_single_files_and_animations_go_to_named_files(words: list[str], tmp_path: Path) -> None:
    frames = [Image.open(tmp_path / "photos" / f"0{n}.png") for n in range(2)]
    frames[0].save(tmp_path / "loop.gif", save_all=True, append_images=frames[1:], duration=100)
    UPath(PHOTOS, "loop.gif").write_bytes((tmp_path / "loop.gif").read_bytes())
    run_command([*words, f"{PHOTOS}/loop.gif", "-o", f"{OUT}/loop.gif"])
    run_command([*words, f"{PHOTOS}/00.png", "-o", str(tmp_path / "one.png")])
    run_command([*words, f"{PHOTOS}/00.png", "-o", f"file://{tmp_path}/new/folder/one.png"])  # where folders are real
    with UPath(OUT, "loop.gif").open("rb") as file, Image.open(file) as made:
        assert made.n_frames == 2
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "new" / "folder" / "one.png").read_bytes()


@pytest.mark.parametrize(
    ("source", "out", "sentence"),
    [
        ("memory://bucket/none", OUT, "There are no images at memory://bucket/none; images end in"),
        (PHOTOS, PHOTOS, "would overwrite the input memory://bucket/photos/00.png"),
        ("quux://bucket", OUT, "quux://bucket cannot be used: Unsupported filesystem: 'quux'"),
        (f"{PHOTOS}/00.png", "ftps://", "ftps:// cannot be used"),
    ],
)
def test_what_cannot_work_is_refused(words: list[str], source: str, out: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        run_command([*words, source, "-o", out, "--overwrite"])
