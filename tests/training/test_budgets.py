"""Going on with a run when something is no longer as it was: more images, other processes, older checkpoints."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from conftest import draw_images, tensors
from cyclegan import Translator
from cyclegan.config.schema import Config
from cyclegan.errors import CycleGANError, OutOfMemory, UsageError
from cyclegan.imaging.image import to_image
from cyclegan.methods.cyclegan import CycleGAN
from cyclegan.runs import checkpoint
from cyclegan.runs.folder import lock_run
from cyclegan.training.setup import configure
from cyclegan.training.step import TrainState
from cyclegan.training.trainer import resume, train
from cyclegan.translation import files
from fakes import RecordingMonitor


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


def test_checkpoints_that_are_not_there_or_damaged_are_said(tiny: Callable[..., Config]) -> None:
    run = train(tiny(max_steps=8, checkpoint_epochs=1))
    with pytest.raises(UsageError, match=r"no checkpoint 'step-1'; it has latest, step-0000007"):
        resume(run, checkpoint="step-1", max_steps=9)
    (run / "checkpoints" / "latest" / "optimizers.safetensors").write_bytes(b"half")
    with pytest.raises(CycleGANError, match=r"latest is damaged .*; resume from another one with --checkpoint step-0"):
        resume(run, max_steps=9)
    resume(run, checkpoint="step-0000007", max_steps=9)


def test_a_finished_run_says_so_and_stays_as_it_is(tiny: Callable[..., Config]) -> None:
    run, listener = train(tiny(max_steps=2)), RecordingMonitor()
    before = (run / "checkpoints" / "latest" / "state.json").stat().st_mtime_ns
    resume(run, monitors=[listener])
    (said,) = listener.messages
    assert "is complete: 2 steps" in said
    assert "--max-minutes" in said
    assert (run / "checkpoints" / "latest" / "state.json").stat().st_mtime_ns == before


def test_more_images_are_said_and_the_schedule_goes_on_by_epochs(
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


def test_data_that_moved_is_found_where_it_is_said(tiny: Callable[..., Config], tmp_path: Path) -> None:
    for domain, tint in (("a", 0), ("b", 2)):
        draw_images(tmp_path / domain, 2, tint)
    run = train(tiny(data=None, a=tmp_path / "a", b=tmp_path / "b", max_steps=1))
    (tmp_path / "a").rename(tmp_path / "moved")
    with pytest.raises(UsageError, match="does not exist"):
        resume(run, max_steps=2)
    resume(run, a=str(tmp_path / "moved"), max_steps=2)


def test_a_process_more_than_before_has_a_history_and_chances_of_its_own(tiny: Callable[..., Config]) -> None:
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


def test_one_training_a_folder(tiny: Callable[..., Config]) -> None:
    run = train(tiny(max_steps=1))
    held = lock_run(run)
    with pytest.raises(UsageError, match="is being trained by another process"):
        resume(run, max_steps=2)
    held.release()
    resume(run, max_steps=2)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError("can't allocate memory: 9 bytes")]
)
def test_too_little_memory_to_train_is_one_sentence(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def exhausted(*_: Any) -> None:
        raise error

    monkeypatch.setattr(CycleGAN, "generate", exhausted)
    with pytest.raises(OutOfMemory, match="not enough memory; lower --crop-size"):
        train(tiny(max_steps=1))


def test_too_little_memory_for_an_image_does_not_end_the_rest(tmp_path: Path) -> None:
    class Hungry(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if x.shape[-1] > 64:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return x

    for width in (64, 96):
        to_image(torch.zeros(3, 32, width)).save(tmp_path / f"{width}.png")
    translator = Translator(Hungry(), (3, 3))
    jobs = files.plan([tmp_path / "64.png", tmp_path / "96.png"], tmp_path / "out")
    small, large = files.translate(translator, jobs)
    assert small.problem is None
    assert large.problem is not None
    assert "96.png: There is not enough memory; use less --memory or a smaller --size" in large.problem


def test_a_crop_size_alone_brings_its_load_size_along(data: Path) -> None:
    def sizes(**settings: Any) -> tuple[int, int]:
        config = configure("paper", data=data, **settings).data
        return config.load_size, config.crop_size

    assert sizes() == (286, 256)
    assert sizes(crop_size=64) == (72, 64)
    assert sizes(crop_size=512) == (572, 512)
    assert sizes(crop_size=64, load_size=100) == (100, 64)
    assert sizes(crop_size=64, preprocess="scale_width_and_crop") == (286, 64)


def test_a_crop_too_small_to_judge_is_refused_before_a_folder_is_made(tiny: Callable[..., Config]) -> None:
    with pytest.raises(UsageError, match="at least 24x24 pixels; this one has 16x16"):
        train(tiny(load_size=16, crop_size=16))
    assert not tiny().run.runs.exists()
