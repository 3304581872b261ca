"""The Python page's example where loader processes are spawned, as on macOS, Windows and from Python 3.14 on."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TINY

RUN = """
import multiprocessing, runpy, sys
multiprocessing.set_start_method(sys.argv[1])
runpy.run_path("example.py", run_name="__main__")
"""
GUARD = 'if __name__ == "__main__":'


@pytest.fixture
def example(data: Path, tmp_path: Path) -> Path:
    """The example as a script in a folder of its own, with a tiny network and data."""
    page = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    code = next(block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "train(" in block)
    assert GUARD in code and "max_minutes=60" in code
    settings = TINY | {"workers": 1, "max_steps": 2, "measure_every": 0}
    code = code.replace("max_minutes=60", ", ".join(f"{name}={value!r}" for name, value in settings.items()))
    shutil.copytree(data, tmp_path / "data" / "horse2zebra")
    (tmp_path / "horse.jpg").symlink_to(data / "testA" / "00.png")
    script = tmp_path / "example.py"
    script.write_text(code)
    return script


def run(script: Path, start_method: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, start_method],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=script.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.mark.processes
@pytest.mark.parametrize("start_method", ["spawn", "forkserver"])
def test_the_example_trains_with_spawned_loader_processes(example: Path, start_method: str) -> None:
    result = run(example, start_method)
    assert result.returncode == 0, result.stderr
    assert (example.parent / "runs" / "horse2zebra" / "checkpoints" / "latest" / "state.json").exists()
    assert "Traceback" not in result.stderr


@pytest.mark.processes
def test_a_script_without_a_main_guard_gets_a_sentence(example: Path) -> None:
    example.write_text(example.read_text().replace(GUARD, "if True:"))
    result = run(example, "forkserver")
    assert result.returncode == 1
    assert "call cyclegan under `if __name__" in result.stderr.splitlines()[-1]
    assert result.stderr.count("Traceback") == 1
