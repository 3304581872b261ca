"""A resumed training is the uninterrupted one: in this process, after signals, after a kill."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import TINY, assert_equal_runs, flags, metrics, run, start, tensors
from cyclegan.config.schema import Config
from cyclegan.runs import checkpoint
from cyclegan.training.trainer import Interrupted, resume, train
from fakes import StopAt

# Dropout, WGAN-GP and augmentation draw random numbers; a history of 3 exchanges images early; rows average 4 steps,
# and the stop at 7 falls between two rows, in the middle of the second of three epochs.
DEMANDING: dict[str, Any] = {
    "max_steps": 15, "dropout": True, "objective": "wgangp", "pool_size": 3, "ema_decay": 0.9, "log_every": 4,
    "sample_every": 5, "batch_size": 1, "epochs": 2, "epochs_decay": 2,
}  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "settings",
    [
        DEMANDING | {"augment": "diffaugment"},
        DEMANDING
        | {"schedule": "plateau", "accumulate": 2, "clip_norm": 1.0}
        | {"objective": "vanilla", "augment": "ada", "ada_images": 20, "ada_target": -0.5},
    ],
)
def test_stop_and_resume_equals_straight(tiny: Callable[..., Config], settings: dict[str, Any], workers: int) -> None:
    straight = train(tiny(name="straight", workers=workers, **settings))
    with pytest.raises(Interrupted, match="cyclegan resume") as stopped:
        train(tiny(name="stopped", workers=workers, **settings), monitors=[StopAt(7)])
    assert stopped.value.exit_code == 128 + signal.SIGINT
    stopped_at = straight.parent / "stopped"
    assert_equal_runs(straight, resume(stopped_at))


def test_number_of_workers_changes_nothing(tiny: Callable[..., Config]) -> None:
    runs = [train(tiny(name=f"workers{n}", workers=n, max_steps=9)) for n in (0, 2)]
    a, b = (tensors(r) for r in runs)
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_seed_decides_all(tiny: Callable[..., Config]) -> None:
    a, b, c = (tensors(train(tiny(name=n, seed=s, max_steps=2))) for n, s in (("a", 1), ("b", 1), ("c", 2)))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["weights.generators.G.stem.1.weight"], c["weights.generators.G.stem.1.weight"])


def test_a_run_without_checkpoint_starts_over(tiny: Callable[..., Config]) -> None:
    first = train(tiny(name="first", max_steps=3))
    second = train(tiny(name="second", max_steps=3))
    for folder in (second / "checkpoints").iterdir():
        for file in folder.iterdir():
            file.unlink()
    assert_equal_runs(first, resume(second))


def _until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def _reached(run_folder: Path, step: int) -> bool:
    file = run_folder / "metrics.csv"
    return file.exists() and file.read_text().count("\n") > step


@pytest.mark.processes
def test_sigterm_saves_and_the_run_resumes_to_the_same_end(data: Path, tmp_path: Path) -> None:
    words = ["train", data, "--preset", "paper", *flags(**TINY, runs=tmp_path, max_steps=60)]
    straight = run(*words, "--name", "straight", OMP_NUM_THREADS="1")
    assert straight.returncode == 0, straight.stderr
    process = start(*words, "--name", "stopped")
    _until(lambda: _reached(tmp_path / "stopped", 5))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"cyclegan resume {tmp_path / 'stopped'}" in err
    assert "Traceback" not in err
    assert len(metrics(tmp_path / "stopped")) < 60
    resumed = run("resume", tmp_path / "stopped")
    assert resumed.returncode == 0, resumed.stderr
    assert_equal_runs(tmp_path / "straight", tmp_path / "stopped")


@pytest.mark.processes
def test_sigkill_at_any_moment_leaves_a_run_that_resumes(data: Path, tmp_path: Path) -> None:
    """Saves happen after every step here, so that kills fall into the writing too."""
    often = {"save_minutes": 1e-9, "max_steps": 40}
    words = ["train", data, "--preset", "paper", *flags(**TINY, runs=tmp_path, **often)]
    straight = run(*words, "--name", "straight")
    assert straight.returncode == 0, straight.stderr
    killed = tmp_path / "killed"
    process = start(*words, "--name", "killed")
    for step in (4, 13, 22):
        _until(lambda step=step: _reached(killed, step))  # type: ignore[misc]
        process.kill()
        process.communicate()
        assert checkpoint.latest_checkpoint(killed) is not None
        process = start("resume", killed)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert_equal_runs(tmp_path / "straight", killed)


@pytest.mark.parametrize("stage", ["mkdir", "save_tensors", "rename", "rename again"])
def test_a_checkpoint_is_there_at_every_stage_of_writing(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """A process that dies in the middle of saving leaves the checkpoint before, or the new one, whole."""
    folder = train(tiny(max_steps=2, name=f"stage-{stage.replace(' ', '-')}"))
    latest = checkpoint.latest_checkpoint(folder)
    assert latest is not None
    saved = checkpoint.load_checkpoint(latest, 0)
    calls = []

    class Died(BaseException):
        pass

    def dying(original: Callable[..., Any], after: int) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            if len(calls) > after:
                raise Died
            return original(*args, **kwargs)

        return call

    target, name, after = {
        "mkdir": (Path, "mkdir", 0),
        "save_tensors": (checkpoint, "save_tensors", 1),
        "rename": (Path, "rename", 0),
        "rename again": (Path, "rename", 1),
    }[stage]
    monkeypatch.setattr(target, name, dying(getattr(target, name), after))
    with pytest.raises(Died):
        checkpoint.save_checkpoint(saved, folder / "checkpoints" / "latest")
    monkeypatch.undo()
    found = checkpoint.latest_checkpoint(folder)
    assert found is not None
    assert checkpoint.load_checkpoint(found, 0).state["step"] == 2
