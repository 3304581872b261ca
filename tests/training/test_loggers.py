"""Monitors that log a run elsewhere: a real Visdom server that dies, Weights & Biases without a network."""

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cyclegan import resume, train
from cyclegan.config.schema import Config
from cyclegan.errors import UsageError
from cyclegan.training import online_loggers as online
from cyclegan.training.monitor import TrainStatus
from fakes import RecordingMonitor

SERVER = """
import sys
from visdom.server.run_server import main
sys.argv = ["visdom", "-port", sys.argv[1], "-env_path", sys.argv[2]]
main()  # not download_scripts_and_run: nothing is fetched
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port), str(tmp_path / "visdom")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}", process
    process.kill()
    process.wait()


@pytest.mark.network
@pytest.mark.processes
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_visdom_shows_losses_and_samples_until_its_server(
    tiny: Callable[..., Config],
    server: tuple[str, subprocess.Popen[bytes]],
    end: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import visdom

    monkeypatch.setattr(online, "TIMEOUT", 2.0)

    address, process = server
    seen: list[set[str]] = []

    def look_and_end(status: TrainStatus) -> None:
        if status.step != 5:
            return
        client = visdom.Visdom(
            server="http://127.0.0.1", port=int(address.rsplit(":", 1)[1]), env="shown", use_incoming_socket=False
        )
        seen.append({name for name in ("G", "D", "cycle", "idt", "AtoB", "BtoA") if client.win_exists(name)})
        losses = json.loads(client.get_window_data("cycle"))["content"]["data"]
        seen.append({line["name"] for line in losses})
        assert losses[0]["x"] == [1, 2, 3, 4]
        capfd.readouterr()
        process.send_signal(end)

    listener = RecordingMonitor(look_and_end)
    stopped = train(tiny(logger=(f"visdom={address}",), name="shown", max_steps=2, schedule="constant"))
    run = resume(stopped, max_steps=9, sample_every=2, monitors=[listener], progress=False)
    assert seen[0] == {"G", "D", "cycle", "idt", "AtoB", "BtoA"}
    assert seen[1] == {"cycle_A", "cycle_B"}
    (warning,) = listener.messages
    assert warning == f"Visdom failed (no server answers at {address}) and was removed; training continues."
    assert (run / "metrics.csv").read_text().count("\n") == 10
    assert capfd.readouterr() == ("", "")


def test_an_absent_visdom_server_is_one_warning(tiny: Callable[..., Config], capfd: pytest.CaptureFixture[str]) -> None:
    listener = RecordingMonitor()
    address = f"127.0.0.1:{free_port()}"
    train(tiny(logger=(f"visdom={address}",), max_steps=3), monitors=[listener], progress=False)
    assert listener.messages == [
        f"Visdom failed (no server answers at http://{address}) and was removed; training continues."
    ]
    out, err = capfd.readouterr()
    assert out + err == ""


def test_wandb_writes_to_the_run_folder_only_and_resumes_with_the_run(
    tiny: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WANDB_CACHE_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    listener = RecordingMonitor()
    run = train(tiny(logger=("wandb=project",), max_steps=2, schedule="constant"), monitors=[listener])
    resume(run, max_steps=4, monitors=[listener])
    assert listener.messages == []
    identity = json.loads((run / "wandb-run.json").read_text())["id"]
    written = sorted(run.glob("wandb/offline-run-*/*.wandb"))
    assert [path.name for path in written] == [f"run-{identity}.wandb"] * 2
    content = b"".join(path.read_bytes() for path in written)
    for name in (b"loss/G_A", b"loss/cycle_B", b"run/learning_rate", b"samples/AtoB", b"discriminator_width"):
        assert name in content
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}


@pytest.mark.parametrize("name", ["visdom", "wandb"])
def test_a_missing_package_is_reported_before_a_run_folder_is_made(
    tiny: Callable[..., Config], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *rest: None if n == name else find(n, *rest))
    with pytest.raises(
        UsageError, match=rf'--logger {name} needs the package {name}: pip install "cyclegan\[{name}\]"'
    ):
        train(tiny(logger=(f"{name}=x",), max_steps=1))
    assert not tiny().run.runs.exists()


@pytest.mark.parametrize(
    ("logger", "message"),
    [
        ("tensorbord", "--logger tensorbord: unknown logger; choose from tensorboard, visdom, wandb"),
        ("tensorboard=x", "--logger tensorboard=x: .*takes"),
    ],
)
def test_unknown_loggers_and_options_are_refused(tiny: Callable[..., Config], logger: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(tiny(logger=(logger,)))
    assert not tiny().run.runs.exists()
