"""A resumed run equals an uninterrupted one: after a signal, after a kill, and when data or processes changed."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from conftest import TINY, assert_equal_runs, draw_images, flags, has_steps, metrics, run, start, tensors, wait_until
from cyclegan.config.schema import Config
from cyclegan.data.select import find_data
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.runs import checkpoint
from cyclegan.runs.folder import lock_run, read_run
from cyclegan.training.step import TrainState
from cyclegan.training.trainer import Interrupted, resume, train
from fakes import RecordingMonitor, StopAt

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
        {"max_steps": 15, "log_every": 4, "generator": "space_to_depth", "discriminator_learning_rate": 1e-3}
        | {"warmup": 0.2, "decay_from": 0.3, "ema_horizon": 0.2, "identity_until": 0.4, "clip_norm": 1.0}
        | {"discriminator": "projected", "crop_size": 32, "load_size": 32},
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


def test_equal_seeds_give_equal_runs(tiny: Callable[..., Config]) -> None:
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


@pytest.mark.processes
@pytest.mark.slow
def test_sigterm_saves_and_the_run_resumes_to_the_same_end(data: Path, tmp_path: Path) -> None:
    words = ["train", data, "--preset", "paper", *flags(**TINY, runs=tmp_path, max_steps=60)]
    straight = run(*words, "--name", "straight", OMP_NUM_THREADS="1")
    assert straight.returncode == 0, straight.stderr
    process = start(*words, "--name", "stopped")
    wait_until(lambda: has_steps(tmp_path / "stopped", 5))
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
@pytest.mark.slow
def test_sigkill_at_any_moment_leaves_a_run_that_resumes(data: Path, tmp_path: Path) -> None:
    """Saves happen after every step here, so that kills fall into the writing too."""
    often = {"save_minutes": 1e-9, "max_steps": 40}
    words = ["train", data, "--preset", "paper", *flags(**TINY, runs=tmp_path, **often)]
    straight = run(*words, "--name", "straight")
    assert straight.returncode == 0, straight.stderr
    killed = tmp_path / "killed"
    process = start(*words, "--name", "killed")
    for step in (4, 13, 22):
        wait_until(lambda step=step: has_steps(killed, step))  # type: ignore[misc]
        process.kill()
        process.communicate()
        assert checkpoint.latest_checkpoint(killed) is not None
        process = start("resume", killed)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert_equal_runs(tmp_path / "straight", killed)


@pytest.mark.parametrize("stage", ["mkdir", "save_tensors", "rename", "rename again"])
def test_a_kill_at_any_stage_of_writing_leaves_a_complete_checkpoint(
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
        "rename": (Path, "replace", 0),
        "rename again": (Path, "replace", 1),
    }[stage]
    monkeypatch.setattr(target, name, dying(getattr(target, name), after))
    with pytest.raises(Died):
        checkpoint.save_checkpoint(saved, folder / "checkpoints" / "latest")
    monkeypatch.undo()
    found = checkpoint.latest_checkpoint(folder)
    assert found is not None
    assert checkpoint.load_checkpoint(found, 0).state["step"] == 2


def numbered(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").glob("step-*"))


def test_an_older_checkpoint_leads_to_the_same_end_and_drops_the_future_it_leaves(tiny: Callable[..., Config]) -> None:
    settings: dict[str, Any] = {"schedule": "constant", "checkpoint_epochs": 1, "keep": 2}
    straight = train(tiny(name="straight", max_steps=9, **settings))
    back = train(tiny(name="back", max_steps=28, **settings))
    assert numbered(back) == ["step-0000021", "step-0000028"]
    shutil.copytree(straight / "checkpoints" / "step-0000007", back / "checkpoints" / "step-0000007")
    resume(str(back), checkpoint="step-0000007", max_steps=9)
    a, b = tensors(straight), tensors(back)
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert (back / "metrics.csv").read_text().count("\n") == 10
    resume(back, max_steps=14)
    assert numbered(back) == ["step-0000007", "step-0000014"]


def test_missing_and_damaged_checkpoints_are_reported(tiny: Callable[..., Config]) -> None:
    run = train(tiny(max_steps=8, checkpoint_epochs=1))
    with pytest.raises(UsageError, match=r"no checkpoint 'step-1'; it has latest, step-0000007"):
        resume(run, checkpoint="step-1", max_steps=9)
    (run / "checkpoints" / "latest" / "optimizers.safetensors").write_bytes(b"half")
    with pytest.raises(CycleGANError, match=r"latest is damaged .*; resume from another one with --checkpoint step-0"):
        resume(run, max_steps=9)
    resume(run, checkpoint="step-0000007", max_steps=9)


def test_what_a_killed_save_has_left_is_deleted_or_put_back(tiny: Callable[..., Config]) -> None:
    run = train(tiny(max_steps=1))
    folder = run / "checkpoints"
    for name in (".latest-older", ".latest-newer", ".step-0000001"):
        shutil.copytree(folder / "latest", folder / name)
    shutil.copytree(folder / "latest", folder / ".best-older")  # killed between the two renames
    resume(run)
    assert sorted(path.name for path in folder.iterdir()) == ["best", "latest"]


def test_resuming_a_complete_run_reports_it_and_changes_nothing(tiny: Callable[..., Config]) -> None:
    run, listener = train(tiny(max_steps=2)), RecordingMonitor()
    before = (run / "checkpoints" / "latest" / "state.json").stat().st_mtime_ns
    resume(run, monitors=[listener])
    (text,) = listener.messages
    assert "is complete: 2 steps" in text
    assert "--max-minutes" in text
    assert (run / "checkpoints" / "latest" / "state.json").stat().st_mtime_ns == before


def test_added_images_are_reported_and_the_schedule_continues_by_epochs(
    tiny: Callable[..., Config], data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data, tmp_path / "d")
    run = train(tiny(data=tmp_path / "d", epochs=2, epochs_decay=0))  # epochs of seven images
    for number in range(7):
        shutil.copy(tmp_path / "d" / "trainA" / f"0{number}.png", tmp_path / "d" / "trainA" / f"1{number}.png")
    listener = RecordingMonitor()
    resume(run, epochs=3, monitors=[listener])
    assert [message for message in listener.messages if "an epoch now has 14 steps" in message]
    assert [status.epoch for status in listener.steps] == [3] * 14
    again = RecordingMonitor()
    resume(run, epochs=4, monitors=[again])
    assert again.messages == []
    assert [status.epoch for status in again.steps] == [4] * 14


def test_moved_data_is_found_in_its_new_folder(tiny: Callable[..., Config], tmp_path: Path) -> None:
    for domain, tint in (("a", 0), ("b", 2)):
        draw_images(tmp_path / domain, 2, tint)
    run = train(tiny(data=None, a=tmp_path / "a", b=tmp_path / "b", max_steps=1))
    (tmp_path / "a").rename(tmp_path / "moved")
    with pytest.raises(UsageError, match="does not exist"):
        resume(run, max_steps=2)
    resume(run, a=str(tmp_path / "moved"), max_steps=2)


def test_an_added_process_starts_with_an_empty_history_and_its_own_random_state(tiny: Callable[..., Config]) -> None:
    run = train(tiny(max_steps=2))
    latest = checkpoint.latest_checkpoint(run)
    assert latest is not None
    saved = checkpoint.load_checkpoint(latest, 1)
    assert saved.processes == []
    training = TrainState(tiny(), Fabric(accelerator="cpu", devices=1))
    state, draw = torch.get_rng_state(), training.method.rng.getstate()
    training.restore(saved)
    assert training.step == 2
    assert all(history.images == [] for history in training.method.histories.values())
    assert torch.equal(torch.get_rng_state(), state)
    assert training.method.rng.getstate() == draw


def test_a_run_folder_is_trained_by_one_process_at_a_time(tiny: Callable[..., Config]) -> None:
    run = train(tiny(max_steps=1))
    held = lock_run(run)
    with pytest.raises(UsageError, match="is being trained by another process"):
        resume(run, max_steps=2)
    held.release()
    resume(run, max_steps=2)


def test_checkpoints_find_their_data_from_any_working_directory(
    tiny: Callable[..., Config], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    folder = train(tiny(data=Path(data.name), max_steps=1))
    monkeypatch.chdir(tmp_path)
    for written in (folder, checkpoint.latest_checkpoint(folder)):
        assert written is not None
        assert find_data(read_run(written)).train.a[0] == data / "trainA" / "00.png"
