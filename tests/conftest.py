"""Small data sets, drawn here, and the command as a real process."""

import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command does; before torch is imported

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from cyclegan.config.schema import Config
from cyclegan.runs import checkpoint
from cyclegan.system import signals
from cyclegan.training.setup import configure

CLOCK_COLUMNS = ("minutes", "images_per_second", "memory", "data_wait")
COMMAND = [sys.executable, "-m", "cyclegan"]
TINY: dict[str, Any] = {
    "generator": "resnet",
    "generator_width": 4,
    "blocks": 1,
    "discriminator_width": 4,
    "load_size": 36,
    "crop_size": 32,
    "workers": 0,
    "device": "cpu",
    "logger": (),
    "log_every": 1,
    "samples": 1,
}


def draw_images(folder: Path, count: int, tint: int, size: int = 40) -> None:
    """Noise around a color; equal names and seeds in two folders make pairs."""
    folder.mkdir(parents=True)
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 120, (size, size, 3), dtype=np.uint8)
        noise[..., tint] += 130
        Image.fromarray(noise).save(folder / f"{number:02d}.png")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven red images in trainA, five blue ones in trainB, three test pairs."""
    root = tmp_path_factory.mktemp("data") / "red2blue"
    for split, count_a, count_b in (("train", 7, 5), ("test", 3, 3)):
        draw_images(root / f"{split}A", count_a, 0)
        draw_images(root / f"{split}B", count_b, 2)
    return root


@pytest.fixture(autouse=True)
def _interrupt_without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted runs end at once instead of waiting for a terminal that may send its signal twice."""
    monkeypatch.setattr(signals, "SAME_REQUEST", 0.0)


@pytest.fixture
def tiny(data: Path, tmp_path: Path) -> Callable[..., Config]:
    """A configuration that trains in seconds, with settings to change."""

    def make(**settings: Any) -> Config:
        return configure("paper", **({"data": data, "runs": tmp_path / "runs"} | TINY | settings))

    return make


def tensors(run_folder: Path) -> dict[str, torch.Tensor]:
    """All that a checkpoint holds: weights, average, optimizers, histories and random states."""
    folder = checkpoint.latest_checkpoint(run_folder)
    assert folder is not None
    return {f"{file.stem}.{k}": v for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}


def metrics(run_folder: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without the columns that depend on the clock."""
    with (run_folder / "metrics.csv").open() as file:
        return [{k: v for k, v in row.items() if k not in CLOCK_COLUMNS} for row in csv.DictReader(file)]


def assert_equal_runs(straight: Path, resumed: Path) -> None:
    """Both runs have the same checkpoint, bit for bit, and the same metrics."""
    a, b = tensors(straight), tensors(resumed)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert metrics(straight) == metrics(resumed)


def flags(**settings: Any) -> list[str]:
    """Settings as words of the command line."""
    words = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            words += [f"--{flag}", *map(str, value if isinstance(value, tuple) else (value,))]
    return words


def wait_until(
    condition: Callable[[], bool], process: subprocess.Popen[str] | None = None, seconds: float = 120
) -> None:
    """Poll a condition that another process fulfills; fails when that process ends or time runs out."""
    end = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, "the process has ended"
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def has_steps(run_folder: Path, steps: int) -> bool:
    """Whether more than this number of rows is in metrics.csv."""
    file = run_folder / "metrics.csv"
    return file.exists() and file.read_text().count("\n") > steps


def start(*words: object, start_new_session: bool = False, **environment: str) -> subprocess.Popen[str]:
    """Start the command in a process of its own, or as the first of a group and session of its own."""
    return subprocess.Popen(
        [*COMMAND, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        start_new_session=start_new_session,
    )


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    process = start(*words, **environment)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
