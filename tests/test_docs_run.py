"""The code of the documentation runs: every block, or it says why not.

The blocks of a page run in order, in a folder that has the images, runs and weights which the pages name. Training is
cut to a few steps of a small network, and data sets to a few images; nothing else is changed. A block is not run if a
comment in front of it says `not run: REASON`, if it is marked as text (output), or if it shows a file of
`tests/extending`.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from conftest import TINY, draw_images
from cyclegan import configure, train
from cyclegan.cli.main import run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]
BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>.+) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S)
NOT_CODE = ("math", "bibtex", "text")
EXTENDING = "".join(
    file.read_text("utf-8") for file in (ROOT / "tests" / "extending").rglob("*.*") if file.suffix in (".py", ".toml")
)
RUNS = ("seasons", "summer-winter", "horse2zebra", "photos2paintings", "first", "second", "maps", "NAME")
SLOW = ("evaluation", "export", "first-run", "in-a-product", "training")
NETWORK = ["--generator", "resnet_6blocks", "--generator-width", "4", "--discriminator-width", "4"]


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and code of the blocks that must run."""
    for block in BLOCK.finditer(page.read_text("utf-8")):
        if not block["reason"] and block["language"] not in NOT_CODE and block["code"] not in EXTENDING:
            yield block["language"], block["code"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the pages take for granted."""
    root = tmp_path_factory.mktemp("prepared")
    for number, name in enumerate(("photos", "paintings", "holiday", "winter")):
        draw_images(root / name, 6, number % 3)
    Image.open(root / "paintings" / "01.png").save(root / "paintings" / "1.jpg")
    for name in ("data/horse2zebra", "data/other", "datasets/maps"):
        for split in ("train", "test"):
            draw_images(root / name / f"{split}A", 4, 0)
            draw_images(root / name / f"{split}B", 4, 2)
    for source, target in (("photos", "trainA"), ("paintings", "trainB")):
        shutil.copytree(root / source, root / "photos_and_paintings" / source)
        shutil.copytree(root / "data/horse2zebra" / target, root / "data/pairs" / target)
        draw_images(root / "scans" / target, 2, 1, size=600)
    draw_images(root / "shoes", 3, 1)
    summer = Image.open(root / "photos" / "01.png").resize((64, 64))
    for name in ("horse.jpg", "summer.jpg", "panorama.png"):
        summer.save(root / name)
    summer.save(root / "loop.gif", save_all=True, append_images=[summer.rotate(90)], duration=100, loop=0)
    settings = TINY | {
        "generator": "resnet_6blocks",
        "data": root / "data/horse2zebra",
        "max_steps": 2,
        "measure_every": 2,
    }
    trained = train(configure("paper", runs=root / "runs", name="seasons", **settings))
    for name in RUNS[1:]:
        shutil.copytree(trained, root / "runs" / name)
    (root / "models").mkdir()
    run(["export", str(trained), "--format", "safetensors", "-o", str(root / "models" / "seasons")])
    run(["export-weights", str(trained), "-o", str(root / "checkpoints" / "maps")])
    for weights in list((root / "checkpoints" / "maps").glob("latest_*")):
        shutil.copy(weights, weights.with_name(weights.name.replace("latest", "100")))
    shutil.copy(root / "checkpoints" / "maps" / "latest_net_G_A.pth", root / "horse2zebra.pth")
    return root


@pytest.fixture
def workspace(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the prepared folder, which is the working directory, with the commands on the PATH."""
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    command = tmp_path / "bin" / "cyclegan"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cyclegan "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    return folder


def shortened(words: list[str]) -> list[str]:
    """The command line with a small budget; what it writes is removed if the prepared folder has it."""
    if "--max-minutes" in words:
        at = words.index("--max-minutes")
        del words[at : at + 2]
    for flag in {"-o", "--output"} & set(words):
        target = Path(words[words.index(flag) + 1])
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
    if words[:3] == ["data", "get", "seasons"]:
        shutil.rmtree("data/seasons", ignore_errors=True)
        return [*words, "--train", "6", "--test", "3"]
    if words[0] == "train":
        name = Path(words[1]).name if words[1] != "--a" else f"{Path(words[2]).name}2{Path(words[4]).name}"
        shutil.rmtree(Path("runs", name), ignore_errors=True)
        network = [] if "--init-from" in words else NETWORK[2:] if "--generator" in words else NETWORK
        return [*words, *network, "--workers", "0", "--max-steps", "2"]
    return [*words, "--max-steps", "4"] if words[0] == "resume" else words


def run_line(line: str) -> None:
    """A line of a shell block: a command of ours in this process, a pipe in a shell."""
    if re.search(r"[|>]", line):
        subprocess.run(["sh", "-ec", line], check=True)
    elif line:
        program, *words = shlex.split(line)
        assert program == "cyclegan", line
        run(shortened(words))


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page.stem in SLOW else [])
        for page in PAGES
        if any(blocks(page))
    ],
)
def test_the_code_of_a_page_runs(page: Path, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for extra in ("av", "onnx", "openvino", "onnxruntime", "skimage"):
        pytest.importorskip(extra)
    make_clip(workspace / "clip.mp4")
    make_clip(workspace / "summer.mp4")
    names = {"__name__": "__main__"}
    for language, code in blocks(page):
        assert language in ("", "python"), f"{page.name}: say what a block marked {language} is"
        if language == "python":
            exec(compile(re.sub(r"max_minutes=\d+", "max_steps=1", code), page.name, "exec"), names)
        else:
            for line in code.splitlines():
                run_line(re.sub(r"\s+#.*", "", line))


def make_clip(path: Path) -> None:
    """A video of a second."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for shade in range(10):
            container.mux(stream.encode(av.VideoFrame.from_image(Image.new("RGB", (64, 64), (20 * shade, 90, 90)))))
        container.mux(stream.encode())


def test_reasons_for_not_running_are_few_and_name_a_cause() -> None:
    reasons = {
        block["reason"] for page in PAGES for block in BLOCK.finditer(page.read_text("utf-8")) if block["reason"]
    }
    assert all(
        re.match(r"(needs|downloads|fetches|builds|serves|replaces|trains|is for) ", reason) for reason in reasons
    )
    for file in {file for reason in reasons for file in re.findall(r"tests/[\w/.]+\w", reason)}:
        assert (ROOT / file).exists(), file
