"""The command line: quick help, one sentence for each mistake, the right exit code."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import COMMAND, TINY, draw_images, flags, run

HELPS = [
    [],
    ["train"],
    ["resume"],
    ["translate"],
    ["evaluate"],
    ["compare"],
    ["diagnose"],
    ["report"],
    ["data"],
    ["data", "get"],
    ["data", "list"],
    ["data", "prepare"],
    ["data", "check"],
    ["publish"],
    ["export"],
    ["import-weights"],
    ["export-weights"],
    ["completion"],
]


@pytest.mark.processes
@pytest.mark.parametrize("words", HELPS, ids=lambda words: " ".join(words) or "cyclegan")
def test_help_answers_without_torch(words: list[str]) -> None:
    script = (
        "import sys; sys.argv = ['cyclegan', *sys.argv[1:], '--help']\n"
        "from cyclegan.cli.main import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0
    assert "usage: cyclegan" in result.stdout
    assert result.stderr.strip() == "False"


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("words", HELPS, ids=lambda words: " ".join(words) or "cyclegan")
def test_help_takes_at_most_03_seconds_of_cpu(words: list[str]) -> None:
    def cpu() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    times = []
    for _ in range(5):
        before = cpu()
        subprocess.run([*COMMAND, *words, "--help"], capture_output=True, check=True)
        times.append(cpu() - before)
    assert min(times) <= 0.3


@pytest.mark.processes
def test_version() -> None:
    assert run("--version").stdout.startswith("cyclegan ")


@pytest.mark.processes
def test_a_reader_that_closes_the_pipe_ends_a_command_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([*COMMAND, "completion", "bash"], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (result.returncode, result.stderr) == (141, b"")


def sentence(result: subprocess.CompletedProcess[str], code: int) -> str:
    """The error message, after the checks that hold for every mistake."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("cyclegan: ")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def train(*words: object) -> subprocess.CompletedProcess[str]:
    return run("train", "--preset", "paper", *flags(**TINY, max_steps=2), *words)


@pytest.mark.processes
def test_an_empty_folder(tmp_path: Path) -> None:
    assert "must contain trainA and trainB" in sentence(run("train", tmp_path), 2)
    for folder in ("trainA", "trainB"):
        (tmp_path / folder).mkdir()
    assert "trainA is empty; images end in" in sentence(run("train", tmp_path), 2)


@pytest.mark.processes
def test_one_domain_missing(tmp_path: Path) -> None:
    draw_images(tmp_path / "trainA", 1, 0)
    assert "trainB is missing; both are required" in sentence(run("train", tmp_path), 2)


@pytest.mark.processes
def test_channel_counts_that_do_not_fit(data: Path) -> None:
    message = sentence(train(data, "--channels-a", 1, "--method", "cut"), 2)
    assert "set --channels-a and --channels-b to the same number" in message


@pytest.mark.processes
def test_gray_files_in_one_domain_train_as_color(tmp_path: Path) -> None:
    draw_images(tmp_path / "d" / "trainB", 2, 0)
    (tmp_path / "d" / "trainA").mkdir()
    gray = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    Image.fromarray(gray).save(tmp_path / "d" / "trainA" / "gray.png")
    assert train(tmp_path / "d", "--runs", tmp_path / "runs").returncode == 0


@pytest.mark.processes
def test_a_text_file_called_jpg(tmp_path: Path) -> None:
    draw_images(tmp_path / "d" / "trainA", 2, 0)
    draw_images(tmp_path / "d" / "trainB", 2, 0)
    (tmp_path / "d" / "trainA" / "text.jpg").write_text("hello")
    result = train(tmp_path / "d", "--runs", tmp_path / "runs", "--max-images", 3, "--batch-size", 3)
    assert result.returncode == 0
    assert "text.jpg is not an image" in result.stderr
    assert "1 unreadable image was left out" in result.stderr
    strict = train(tmp_path / "d", "--runs", tmp_path / "runs", "--strict", "--batch-size", 3)
    assert "text.jpg is not an image" in sentence(strict, 1)


@pytest.mark.processes
def test_a_wrong_run_folder(tmp_path: Path) -> None:
    assert "is not a run folder" in sentence(run("resume", tmp_path), 2)
    assert "is not a run folder" in sentence(run("report", tmp_path), 2)
    draw_images(tmp_path / "in", 1, 0)
    assert "is not a run, a checkpoint or a model" in sentence(
        run("translate", tmp_path, tmp_path / "in", "-o", tmp_path / "o"), 2
    )


@pytest.mark.processes
def test_sizes_the_network_cannot_take(data: Path, tmp_path: Path) -> None:
    message = sentence(train(data, "--runs", tmp_path, "--load-size", 16, "--crop-size", 16), 2)
    assert "at least 24x24 pixels" in message


@pytest.mark.processes
def test_no_space_left(data: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: writing past it fails in the same way."""
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "sys.argv = ['cyclegan', *sys.argv[1:]]\n"
        "from cyclegan.cli.main import main; main()"
    )
    words = ["train", data, "--preset", "paper", *flags(**TINY, max_steps=2, runs=tmp_path)]
    result = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)], capture_output=True, text=True, timeout=120
    )
    assert "the previous one is unchanged" in sentence(result, 1)
    assert "cannot be written" in sentence(result, 1)


@pytest.mark.processes
def test_settings_that_cannot_be(data: Path) -> None:
    assert "larger than --load-size" in sentence(train(data, "--crop-size", 99), 2)
    assert "The device 'tpu' is not available" in sentence(run("train", data, *flags(**TINY | {"device": "tpu"})), 2)
    assert "has no option --max-minuts; did you mean --max-minutes?" in sentence(
        run("train", data, "--max-minuts", 3), 2
    )
    assert "not both" in sentence(run("train", data, "--preset", "paper", "--config", "x.toml"), 2)


@pytest.mark.processes
def test_a_run_starts_again_from_its_file(data: Path, tmp_path: Path) -> None:
    first = train(data, "--runs", tmp_path, "--name", "first")
    assert first.returncode == 0, first.stderr
    again = run("train", "--config", tmp_path / "first" / "config.toml", "--name", "again")
    assert again.returncode == 0, again.stderr
    a, b = ((tmp_path / n / "checkpoints/latest/weights.safetensors").read_bytes() for n in ("first", "again"))
    assert a == b
    assert (tmp_path / "again" / "report.html").exists()


@pytest.mark.processes
def test_two_folders_and_auto(tmp_path: Path) -> None:
    draw_images(tmp_path / "photos", 2, 0, size=64)
    draw_images(tmp_path / "paintings", 2, 2, size=64)
    result = run("train", "--a", tmp_path / "photos", "--b", tmp_path / "paintings", "--max-steps", 2,
                 "--runs", tmp_path / "runs")  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "64x64" in result.stderr
    assert (tmp_path / "runs" / "photos2paintings" / "report.html").exists()


@pytest.mark.processes
def test_seasons_as_files(tmp_path: Path) -> None:
    result = run("data", "get", "seasons", "-o", tmp_path / "s", "--train", 2, "--test", 1, "--size", 32)
    assert result.returncode == 0
    assert "2 summers" in result.stdout
    assert "exists and is not empty" in sentence(run("data", "get", "seasons", "-o", tmp_path / "s"), 1)
