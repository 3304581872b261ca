"""Files and folders that appear complete or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cyclegan.errors import CycleGANError
from cyclegan.system.atomic import replace_folder, staged_file, temporary_path, write_file, write_text


def test_text_is_written_with_missing_folders_and_default_permissions(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    previous = os.umask(0o027)
    try:
        write_text(path, "café\udcff")
    finally:
        os.umask(previous)
    assert path.read_text(encoding="utf-8") == "café?"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("bad value")])
def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "image.PNG"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        assert temporary.parent == tmp_path and temporary.suffix == ".png"
        temporary.write_text("half")
        raise error

    with pytest.raises(CycleGANError, match=r"image\.PNG cannot be written: (No space left on device|bad value)\."):
        write_file(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_staged_file_appears_only_at_the_end_of_the_block(tmp_path: Path) -> None:
    with staged_file(tmp_path / "video.mp4") as temporary:
        temporary.write_text("frames")
        assert not (tmp_path / "video.mp4").exists()
    assert (tmp_path / "video.mp4").read_text() == "frames"


def test_a_folder_is_replaced_completely_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "latest"
    replace_folder(folder, lambda new: (new / "a").write_text("1"))
    replace_folder(folder, lambda new: (new / "b").write_text("2"))
    assert [each.name for each in folder.iterdir()] == ["b"]

    def fail(new: Path) -> None:
        (new / "c").write_text("3")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        replace_folder(folder, fail)
    assert [each.name for each in folder.iterdir()] == ["b"]
    assert list(tmp_path.iterdir()) == [folder]


def test_the_older_folder_of_a_killed_replacement_is_kept_until_the_next_one_is_complete(tmp_path: Path) -> None:
    older = tmp_path / ".latest-older"
    older.mkdir()
    (older / "a").write_text("1")

    def fill(new: Path) -> None:
        assert (older / "a").exists()
        (new / "b").write_text("2")

    replace_folder(tmp_path / "latest", fill)
    assert [each.name for each in tmp_path.iterdir()] == ["latest"]


def test_what_a_killed_process_left_is_deleted_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        for path in (temporary_path(tmp_path / "before", "1.png"), temporary_path(tmp_path / "before", "folder")):
            left = tmp_path / "out" / path.name.replace(f"-{os.getpid()}-", f"-{other.pid}-")
            left.mkdir(parents=True)
        mine = tmp_path / "out" / ".hidden-1"
        mine.touch()
        temporary_path(tmp_path / "out", "x")
        assert len(list((tmp_path / "out").iterdir())) == 3, "the process still runs"
        other.communicate(b"\n")
    (tmp_path / "out").rename(tmp_path / "later")
    temporary_path(tmp_path / "later", "x")
    assert [each.name for each in (tmp_path / "later").iterdir()] == [mine.name]
