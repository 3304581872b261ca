"""Nothing is sent anywhere: work on local files opens no internet socket."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import TINY, flags

SCRIPT = """
import json, socket, sys

def forbid(event, arguments):
    opens = event == "socket.__new__" and arguments[1] in (socket.AF_INET, socket.AF_INET6)
    if opens or event in ("socket.getaddrinfo", "socket.gethostbyname"):
        raise AssertionError(f"{event} {arguments}")

sys.addaudithook(forbid)
from cyclegan.cli.main import main

for words in json.loads(sys.argv[1]):
    sys.argv = ["cyclegan", *words]
    try:
        main()
    except SystemExit as end:
        assert end.code == 0, words
"""


@pytest.mark.processes
def test_train_translate_evaluate_and_export_on_local_files_open_no_internet_socket(data: Path, tmp_path: Path) -> None:
    settings = {name: value for name, value in TINY.items() if name != "logger"}  # TensorBoard's events are files
    run, made = tmp_path / "run", tmp_path / "made"
    commands = [
        ["train", str(data), "--preset", "paper", *flags(**settings, runs=tmp_path, name="run", max_steps=2)],
        ["translate", str(run), str(data / "testA"), "-o", str(made)],
        ["evaluate", str(run)],
        ["export", str(run), "--format", "safetensors", "-o", str(tmp_path / "model")],
    ]
    allowed = [sys.executable, "-c", SCRIPT]
    result = subprocess.run([*allowed, json.dumps(commands)], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert len(list(made.iterdir())) == 3
    forbidden = [["translate", str(run), "https://127.0.0.1:9/x.png", "-o", str(tmp_path / "x.png")]]
    result = subprocess.run([*allowed, json.dumps(forbidden)], capture_output=True, text=True, timeout=300)
    assert "AssertionError: socket." in result.stderr, "the test must be able to fail"
