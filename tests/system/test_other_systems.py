"""What Windows and macOS do differently, as far as it can be shown on any system."""

import io
import sys
from pathlib import Path

import pytest
import torch

from cyclegan.cli import main as cli
from cyclegan.cli.app import COMMANDS
from cyclegan.runs.checkpoint import load_tensors, save_tensors
from cyclegan.system.atomic import rename
from cyclegan.system.text import quote


class Busy(type(Path())):  # type: ignore[misc]
    """A file that another program has open for the first two attempts to rename it, as on Windows."""

    attempts = 0

    def replace(self, target: Path) -> Path:
        self.attempts += 1
        if self.attempts <= 2:
            raise PermissionError(13, "used by another process")
        return Path(self).replace(target)


def test_renaming_waits_for_programs_that_have_the_file_open(tmp_path: Path) -> None:
    busy = Busy(tmp_path / "a")
    busy.write_text("new")
    (tmp_path / "b").write_text("old")
    with pytest.raises(PermissionError):
        rename(busy, tmp_path / "b", delays=())
    rename(busy, tmp_path / "b", delays=(0.0, 0.0))
    assert busy.attempts == 3
    assert (tmp_path / "b").read_text() == "new"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux lists a process's mapped files")
def test_no_file_of_a_checkpoint_stays_open_after_loading(tmp_path: Path) -> None:
    """Windows could not replace the folder of a checkpoint that a resumed run or a server has open."""
    file = tmp_path / "weights.safetensors"
    save_tensors({"weight": torch.arange(100_000.0)}, file)
    loaded = load_tensors(file)
    assert str(file) not in Path("/proc/self/maps").read_text()
    assert torch.equal(loaded["weight"], torch.arange(100_000.0))


@pytest.mark.parametrize(
    ("windows", "quoted"),
    [(True, r'tool "C:\my photos\horses" --size 3'), (False, r"tool 'C:\my photos\horses' --size 3")],
)
def test_commands_to_copy_are_quoted_for_the_users_shell(windows: bool, quoted: str) -> None:
    assert quote("tool", r"C:\my photos\horses", "--size", 3, windows=windows) == quoted


def test_what_a_pipe_cannot_encode_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", pipe)
    monkeypatch.setattr(sys, "argv", ["cyclegan", "arrow"])
    monkeypatch.setitem(COMMANDS, "arrow", lambda: print("summer → winter"))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    pipe.flush()
    assert ended.value.code == 0
    assert pipe.buffer.getvalue().split() == [b"summer", b"?", b"winter"]  # type: ignore[attr-defined]
