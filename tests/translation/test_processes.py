"""Translating many images by several processes, and resuming what was stopped."""

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from conftest import TINY, draw_images
from cyclegan import Translator, UsageError
from cyclegan.cli.main import run as run_command
from cyclegan.errors import CycleGANError
from cyclegan.training.setup import configure
from cyclegan.training.trainer import train
from cyclegan.translation import files
from cyclegan.translation.processes import translate_in_processes

RANKS = {"torchrun": "RANK LOCAL_RANK WORLD_SIZE", "srun": "SLURM_PROCID SLURM_LOCALID SLURM_STEP_NUM_TASKS"}


@pytest.fixture(scope="module")
def words(data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command and its inputs: five images, and two in a subfolder."""
    root = tmp_path_factory.mktemp("work")
    draw_images(root / "in", 5, 0)
    draw_images(root / "in" / "deep", 2, 1)
    run = train(configure("paper", **(TINY | {"data": data, "runs": root, "max_steps": 1})))
    return ["translate", str(run), str(root / "in"), "--device", "cpu", "-o"]


def results(folder: Path) -> dict[str, bytes]:
    """The pixels of each result; the folder holds nothing else."""
    return {p.relative_to(folder).as_posix(): Image.open(p).tobytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def expected(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process writes."""
    out = tmp_path_factory.mktemp("expected")
    run_command([*words, str(out)])
    return results(out)


@pytest.mark.parametrize("launcher", RANKS)
def test_each_process_of_a_launcher_translates_its_share_and_resumes_it(
    launcher: str,
    words: list[str],
    expected: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for rank in (1, 0):
        for name, value in zip(RANKS[launcher].split(), (rank, rank, 2), strict=True):
            monkeypatch.setenv(name, str(value))
        # No share has a file of the other's: that would exist in the second process.
        run_command([*words, str(tmp_path)])
    assert capsys.readouterr().out.splitlines() == [
        f"Process 2 of 2: 3 of 3 images translated to {tmp_path}",
        f"Process 1 of 2: 4 of 4 images translated to {tmp_path}",
    ]
    assert results(tmp_path) == expected
    with pytest.raises(UsageError, match=r"and 3 more results exist; .* or --resume to keep what is there"):
        run_command([*words, str(tmp_path)])
    (tmp_path / "deep" / "01.png").unlink()
    (tmp_path / "00.png").write_text("kept")
    run_command([*words, str(tmp_path), "--resume"])
    assert "Process 1 of 2: 1 of 1 images translated" in capsys.readouterr().out
    assert (tmp_path / "00.png").read_text() == "kept"


class Deadly(torch.nn.Module):
    """Ends its process, as a kernel out of memory would, when an image is 48 pixels wide."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] == 48:
            os.kill(os.getpid(), signal.SIGKILL)
        return x


def load_deadly() -> Translator:
    return Translator(Deadly(), (3, 3))


@pytest.mark.processes
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_the_others_finish_when_a_process_is_killed_and_resume_completes_the_rest(
    words: list[str], expected: dict[str, bytes], tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(words[2], source)
    Image.new("RGB", (48, 40)).save(source / "03.png")
    jobs = files.plan(files.find([source]), out)
    problems = []
    with pytest.raises(CycleGANError, match=r"A process was killed with 3 images unfinished; add --resume to"):
        problems += translate_in_processes(load_deadly, jobs, 2)
    first = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert {job.target for job in jobs[::2]} <= first.keys() < {job.target for job in jobs}
    shutil.copy(Path(words[2]) / "03.png", source)
    run_command(["translate", words[1], str(source), *words[3:], str(out), "--devices", "2", "--resume"])
    assert {path: path.stat().st_mtime_ns for path in first} == first
    made = results(out)
    assert made.keys() == expected.keys()
    assert made["03.png"] == expected["03.png"]
