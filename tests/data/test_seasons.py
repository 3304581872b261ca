"""The built-in data set: one scene at every size and in both seasons, and files in the usual layout."""

from pathlib import Path

import numpy as np
import pytest

from cyclegan.data.get.seasons import draw_scene, write_seasons
from cyclegan.data.layouts import find_domains
from cyclegan.errors import CycleGANError, UsageError


def values(seed: int, season: str, size: int = 64) -> np.ndarray:
    return np.asarray(draw_scene(seed, season, size), dtype=float)  # type: ignore[arg-type]


def test_a_seed_determines_the_scene() -> None:
    assert np.array_equal(values(3, "summer"), values(3, "summer"))
    assert np.abs(values(3, "summer") - values(4, "summer")).mean() > 5


def test_the_scene_is_the_same_at_every_size() -> None:
    large = values(5, "winter", 256).reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    assert np.abs(large - values(5, "winter")).mean() < 2


def test_seasons_differ_strongly_but_share_their_geometry() -> None:
    errors, agreements = [], []
    for seed in range(1_000_000, 1_000_032):
        summer, winter = values(seed, "summer"), values(seed, "winter")
        errors.append(10 * np.log10(255**2 / ((summer - winter) ** 2).mean()))
        edges = [np.abs(np.diff(v.mean(-1), axis=1)) for v in (summer, winter)]
        agreements.append(np.corrcoef(edges[0].ravel(), edges[1].ravel())[0, 1])
    assert 6.5 < np.mean(errors) < 8
    assert np.mean(agreements) > 0.4


def test_files_have_the_layout_of_a_data_set(tmp_path: Path) -> None:
    write_seasons(tmp_path / "s", size=16, train=3, test=2)
    folders = [path for path in (tmp_path / "s").iterdir() if path.is_dir()]
    names = {folder.name: sorted(p.name for p in folder.iterdir()) for folder in folders}
    assert names == {
        "trainA": ["0000000.png", "0000001.png", "0000002.png"],
        "trainB": ["0000003.png", "0000004.png", "0000005.png"],
        "testA": ["1000000.png", "1000001.png"],
        "testB": ["1000000.png", "1000001.png"],
    }
    assert find_domains(tmp_path / "s").names == ("summer", "winter")


def test_nothing_is_replaced_and_nothing_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "mine.txt").write_text("")
    with pytest.raises(CycleGANError, match="exists and is not empty"):
        write_seasons(tmp_path / "s")
    with pytest.raises(UsageError, match="size >= 16"):
        write_seasons(tmp_path / "t", size=8)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    with pytest.raises(CycleGANError, match=r"disk of .* is full"):
        write_seasons(tmp_path / "t", train=1, test=1)
    assert [p.name for p in tmp_path.iterdir()] == ["s"]
