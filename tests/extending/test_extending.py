"""Another package adds a method, a generator, a logger, an export format and a data set, and all commands use them.

`their_package` is not installed. Next to it on the path is a metadata folder with its entry points, generated from its
pyproject.toml, which is what an installation would write.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import COMMAND, TINY, flags

pytestmark = pytest.mark.processes

THEIRS = Path(__file__).parent / "their_package"
PAGE = Path(__file__).parents[2] / "docs" / "extending.md"

# Runs several commands in one process, which imports torch once, and prints their outputs as JSON.
COMMANDS = """
import contextlib, io, json, sys
import psutil
from cyclegan.cli.main import main

outputs = {}
for name, words in json.loads(sys.argv[1]).items():
    if "LITTLE" in words:
        words[words.index("LITTLE")] = f"{psutil.Process().memory_info().rss // 2**20 + 30}MiB"
    sys.argv, output = ["cyclegan", *words], io.StringIO()
    with contextlib.redirect_stdout(output):
        try:
            main()
        except SystemExit as end:
            outputs[name] = {"code": end.code, "text": output.getvalue()}
print(json.dumps(outputs))
"""

PROGRAM = """
import json, sys
from pathlib import Path
import psutil, torch
from cyclegan import Translator, configure, diagnose, evaluate, export, resume, train

settings, out = json.loads(sys.argv[1]), Path(sys.argv[2])
run = train(configure("paper", runs=out, name="python", max_steps=1, **settings))
resume(run, max_steps=2)
image = torch.rand(3, 500, 601, generator=torch.Generator().manual_seed(0)) * 2 - 1
plain, bands = Translator.load(run, winograd=False)(image), []
rewritten = Translator.load(run)(image)
small = Translator.load(run, memory=psutil.Process().memory_info().rss + 30 * 2**20)
small.any_size.progress = lambda done, total: bands.append(total)
streamed = small(image)
print(json.dumps({
    "shape": list(plain.shape),
    "rewritten": float((rewritten - plain).abs().max()),
    "bands": max(bands, default=0),
    "streamed": float((streamed - plain).abs().max()),
    "directions": [each.direction for each in evaluate(run)],
    "diagnosis": diagnose(run).summary,
    "npz": export(run, "npz", out / "weights.npz").max_difference,
    "torch-export": export(run, "torch-export", out / "program.pt2").max_difference,
}))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that finds their package and its entry points."""
    site = tmp_path_factory.mktemp("site")
    project = tomllib.loads((THEIRS / "pyproject.toml").read_text("utf-8"))["project"]
    name, version = project["name"], project["version"]
    metadata = site / f"{name}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", "utf-8")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {module}" for name, module in entries.items()), ""]
    (metadata / "entry_points.txt").write_text("\n".join(lines), "utf-8")
    path = [str(site), str(THEIRS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}


def output(environment: dict[str, str], *words: object) -> str:
    """What a process prints."""
    done = subprocess.run(
        [str(word) for word in words], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def settings(data: Path) -> dict[str, Any]:
    theirs = {"method": "smooth", "generator": "shallow", "generator_width": 32, "logger": ("jsonl",)}
    return TINY | {"data": str(data)} | theirs


@pytest.fixture(scope="module")
def run(environment: dict[str, str], settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained by the command with their method, generator and logger."""
    runs = tmp_path_factory.mktemp("runs")
    options = {name: value for name, value in settings.items() if name != "data"}
    words = flags(preset="paper", runs=runs, name="theirs", max_steps=2, **options)
    output(environment, *COMMAND, "train", settings["data"], *words)
    return runs / "theirs"


@pytest.fixture(scope="module")
def outputs(environment: dict[str, str], run: Path, data: Path) -> dict[str, Any]:
    """The exit codes and outputs of other commands on that run, one after the other."""
    values = np.random.default_rng(0).integers(0, 256, (500, 601, 3), dtype=np.uint8)
    image = run.parent / "image.png"
    Image.fromarray(values).save(image)
    archive = shutil.make_archive(str(run.parent / "dots-archive"), "zip", data)
    commands: dict[str, list[object]] = {
        "resume": ["resume", run, "--max-steps", 4],
        "whole": ["translate", run, image, "-o", run.parent / "whole.png"],
        "streamed": ["translate", run, image, "-o", run.parent / "streamed.png", "--memory", "LITTLE"],
        "evaluate": ["evaluate", run],
        "diagnose": ["diagnose", run],
        "report": ["report", run],
        "export": ["export", run, "--format", "npz", "-o", run.parent / "theirs.npz"],
        "get": ["data", "get", "dots", "-o", run.parent / "dots", "--from-file", archive],
        "list": ["data", "list"],
        "misspelled": ["train", data, "--method", "smoth"],
    }
    words = json.dumps({name: [str(word) for word in words] for name, words in commands.items()})
    return json.loads(output(environment, sys.executable, "-c", COMMANDS, words).splitlines()[-1])


def losses(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "losses.jsonl").read_text("utf-8").splitlines()]


@pytest.mark.processes
def test_all_commands_succeed(outputs: dict[str, Any]) -> None:
    assert {name: result["code"] for name, result in outputs.items()} == dict.fromkeys(outputs, 0) | {"misspelled": 2}


@pytest.mark.processes
def test_a_run_uses_their_method_generator_and_logger(run: Path, outputs: dict[str, Any]) -> None:
    config = tomllib.loads((run / "config.toml").read_text("utf-8"))
    assert config["loss"]["method"] == "smooth"
    assert config["networks"]["generator"] == "shallow"
    assert [row["step"] for row in losses(run)] == [1, 2, 3, 4]  # resumed in between
    assert all(row["tv_A"] > 0 and row["tv_B"] > 0 and row["cycle_A"] > 0 for row in losses(run))


@pytest.mark.processes
def test_a_streamed_translation_equals_that_of_the_whole_image(run: Path, outputs: dict[str, Any]) -> None:
    whole, streamed = (np.asarray(Image.open(run.parent / f"{name}.png")).astype(int) for name in ("whole", "streamed"))
    assert whole.shape == (500, 601, 3)
    assert np.abs(whole - streamed).max() <= 1
    assert np.abs(whole - streamed).mean() < 0.01


@pytest.mark.processes
def test_pages_and_tables_describe_their_method_and_generator(run: Path, outputs: dict[str, Any]) -> None:
    report = (run / "report.html").read_text("utf-8")
    for words in ("Smooth CycleGAN", "total variation × 0.5", "shallow 1-block ResNet", "Total variation"):
        assert words in report
    assert "cycle error" in outputs["evaluate"]["text"]
    assert "4 steps" in outputs["diagnose"]["text"]


@pytest.mark.processes
def test_an_export_in_their_format_is_verified(run: Path, outputs: dict[str, Any]) -> None:
    assert "no difference" in outputs["export"]["text"]
    with np.load(run.parent / "theirs.npz") as arrays:
        assert arrays["up.0.weight"].shape == (64, 3, 4, 4)


@pytest.mark.processes
def test_their_data_set_is_available_by_name(run: Path, outputs: dict[str, Any]) -> None:
    assert {path.name for path in (run.parent / "dots").iterdir()} >= {"trainA", "trainB", "testA", "testB"}
    assert "7 and 5 training images" in outputs["get"]["text"]
    assert "red dots (7), blue dots (5)" in outputs["list"]["text"]


@pytest.mark.processes
@pytest.mark.slow
def test_the_python_interface_takes_the_same_names(
    environment: dict[str, str], settings: dict[str, Any], tmp_path: Path
) -> None:
    words = [sys.executable, "-c", PROGRAM, json.dumps(settings), tmp_path]
    result = json.loads(output(environment, *words).splitlines()[-1])
    assert result["shape"] == [3, 500, 601]
    assert 0 < result["rewritten"] < 2e-4  # Winograd convolution rounds differently
    assert result["bands"] > 1
    assert result["streamed"] < 2e-4
    assert result["directions"] == ["AtoB", "BtoA"]
    assert "2 steps" in result["diagnosis"]
    assert result["npz"] == result["torch-export"] == 0
    assert [row["step"] for row in losses(tmp_path / "python")] == [1, 2]


def test_the_page_shows_these_files() -> None:
    blocks = re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    files = [path for path in THEIRS.rglob("*") if path.suffix in (".py", ".toml") and path.name != "__init__.py"]
    assert dict(blocks) == {path.relative_to(THEIRS).as_posix(): path.read_text("utf-8") for path in files}
