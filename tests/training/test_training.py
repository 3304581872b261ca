"""The loop: what it writes, what it says, what stops it and what does not."""

import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from safetensors.torch import load_file

from conftest import draw_images
from cyclegan.config.schema import Config
from cyclegan.config.toml import from_toml
from cyclegan.errors import CycleGANError, OutOfMemory, UsageError
from cyclegan.imaging.source import UnreadableImage
from cyclegan.methods.cyclegan import CycleGAN
from cyclegan.runs import checkpoint
from cyclegan.runs.grid_layout import GAP, HEADING
from cyclegan.runs.sample_grids import sample_grid
from cyclegan.system.machine import cpu_count
from cyclegan.training.loggers import MetricsFile
from cyclegan.training.monitor import Monitor, MonitorList, TrainStatus
from cyclegan.training.step import TrainState
from cyclegan.training.trainer import train
from fakes import RecordingMonitor


def test_a_run_folder_has_the_documented_files(tiny: Callable[..., Config], data: Path) -> None:
    config = tiny(max_steps=8, sample_every=4, logger=("tensorboard",), checkpoint_epochs=1, ema_decay=0.9)
    run = train(config)
    assert run.name == "red2blue"
    assert from_toml(run / "config.toml").data.data == data.resolve()
    assert sorted(p.name for p in (run / "samples").iterdir()) == [
        f"step-000000{step}-{direction}.png" for step in (1, 4, 8) for direction in ("AtoB", "BtoA")
    ]
    assert (run / "metrics.csv").read_text().splitlines()[0] == (
        "step,epoch,progress,minutes,images_per_second,memory,learning_rate,data_wait,G_A,G_B,cycle_A,cycle_B,idt_A,idt_B,D_A,D_B"
    )
    assert list((run / "tensorboard").iterdir())
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["latest", "step-0000007"]


def test_runs_get_free_names_and_given_ones_are_never_reused(tiny: Callable[..., Config]) -> None:
    assert [train(tiny(max_steps=1)).name for _ in range(2)] == ["red2blue", "red2blue-2"]
    with pytest.raises(UsageError, match="exists; choose another --name, or continue it with `cyclegan resume"):
        train(tiny(name="red2blue"))


def test_numbered_checkpoints_are_kept_to_the_chosen_number(tiny: Callable[..., Config]) -> None:
    run = train(tiny(max_steps=28, checkpoint_epochs=1, keep=2))
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["latest", "step-0000021", "step-0000028"]


@pytest.mark.parametrize(
    ("settings", "largest"),
    [({"ema_decay": 0.3}, 0.3), ({"ema_horizon": 0.1, "max_steps": 15}, 1 / 3)],  # the average of 1.5 steps
)
def test_ema_follows_its_formula(tiny: Callable[..., Config], settings: dict[str, float], largest: float) -> None:
    config = tiny(**settings)
    training = TrainState(config, Fabric(accelerator="cpu", devices=1))
    batch = {"A": torch.rand(1, 3, 32, 32), "B": torch.rand(1, 3, 32, 32)}
    name = "G.stem.1.weight"
    expected = training.method.generators.state_dict()[name].clone()
    for n in range(6):
        training.train_step([batch])
        now = training.method.generators.state_dict()[name]
        decay = min(largest, (1 + n) / (10 + n))
        # The average of the first update is the weights themselves: there is nothing before them.
        expected = now.clone() if n == 0 else decay * expected + (1 - decay) * now
    torch.testing.assert_close(training.generators.state_dict()[name], expected)


def test_the_discriminators_may_have_a_learning_rate_of_their_own(tiny: Callable[..., Config]) -> None:
    config = tiny(learning_rate=4e-3, discriminator_learning_rate=1e-3, max_steps=10, decay_from=0.5)
    training = TrainState(config, Fabric(accelerator="cpu", devices=1))
    training.step = 8
    assert training.set_learning_rate() == pytest.approx(4e-3 * 0.4)
    rates = [group["lr"] for optimizer in training.optimizers for group in optimizer.param_groups]
    assert rates == pytest.approx([4e-3 * 0.4, 1e-3 * 0.4])


def test_accumulated_batches_are_one_larger_batch(tiny: Callable[..., Config]) -> None:
    """Gradients of two batches of one, halved, are those of one batch of two."""
    torch.manual_seed(0)
    x, y = torch.rand(2, 2, 3, 32, 32)
    weights = []
    for parts in (1, 2):
        training = TrainState(tiny(pool_size=0, learning_rate=1e-3), Fabric(accelerator="cpu", devices=1))
        batches = [{"A": a, "B": b} for a, b in zip(x.chunk(parts), y.chunk(parts), strict=True)]
        training.train_step(batches)
        weights.append(torch.cat([p.detach().flatten() for p in training.method.parameters()]))
    # Adam's first step has the size of the rate whatever the gradient, so rounding shows where that is near zero.
    torch.testing.assert_close(*weights, rtol=0, atol=2.5e-3)
    assert (weights[0] - weights[1]).abs().median() < 1e-7


def test_clipping_bounds_the_gradients(tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    training = TrainState(tiny(clip_norm=1e-3), Fabric(accelerator="cpu", devices=1))
    norms = []
    original = torch.optim.Adam.step

    def spy(self: torch.optim.Adam, *args: Any, **kwargs: Any) -> Any:
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(torch.cat([g.flatten() for g in gradients]).norm().item())
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", spy)
    training.train_step([{"A": torch.rand(1, 3, 32, 32), "B": torch.rand(1, 3, 32, 32)}])
    assert norms == pytest.approx([1e-3, 1e-3], rel=1e-3)


def test_mixed_precision_trains(tiny: Callable[..., Config]) -> None:
    run = train(tiny(max_steps=2, precision="bf16-mixed"))
    assert checkpoint.latest_checkpoint(run) is not None


def test_plateau_lowers_the_rate_when_nothing_improves(tiny: Callable[..., Config]) -> None:
    config = tiny(schedule="plateau", learning_rate=1e-12, max_steps=64)  # 8 epochs of 7 steps without progress
    listener = RecordingMonitor()
    train(config, monitors=[listener])
    assert listener.steps[0].learning_rate == 1e-12
    assert listener.steps[-1].learning_rate == pytest.approx(2e-13)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = CycleGAN.generators_loss
    calls = []

    def poisoned(self: CycleGAN, batch: dict[str, torch.Tensor], images: dict[str, torch.Tensor]) -> Any:
        calls.append(1)
        terms = original(self, batch, images)
        if len(calls) == 10:
            terms["G_A"] = terms["G_A"] * float("nan")
        return terms

    monkeypatch.setattr(CycleGAN, "generators_loss", poisoned)
    with pytest.raises(CycleGANError, match=r"not? longer finite at step 10.*latest.*try a smaller --learning-rate"):
        train(tiny(max_steps=20, checkpoint_epochs=1))
    (latest,) = tiny().run.runs.glob("*/checkpoints/latest")
    assert checkpoint.load_checkpoint(latest, 0).state["step"] == 7
    assert all(t.isfinite().all() for t in load_file(latest / "weights.safetensors").values())


def test_a_full_disk_stops_with_a_sentence_and_keeps_the_last_checkpoint(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = checkpoint.save_tensors
    calls = []

    def full(tensors: Any, path: Path) -> None:
        calls.append(1)
        if len(calls) > 4:  # the first checkpoint has three files
            raise OSError(28, "No space left on device")
        original(tensors, path)

    monkeypatch.setattr(checkpoint, "save_tensors", full)
    with pytest.raises(CycleGANError, match=r"No space left on device.*the previous one is unchanged"):
        train(tiny(max_steps=20, checkpoint_epochs=1))
    (folder,) = tiny().run.runs.glob("*/checkpoints")
    assert checkpoint.load_checkpoint(folder / "latest", 0).state["step"] == 7
    assert [p.name for p in folder.glob(".*")] == []


@pytest.mark.parametrize("fails_at", ["on_start", "on_step", "on_losses", "on_samples", "on_end"])
def test_a_failing_monitor_does_not_stop_training(tiny: Callable[..., Config], fails_at: str) -> None:
    def fail(*_: Any) -> None:
        raise ConnectionRefusedError("nobody listens")

    broken, listener = Monitor(), RecordingMonitor()
    setattr(broken, fails_at, fail)
    run = train(tiny(max_steps=3), monitors=[broken, listener])
    assert checkpoint.latest_checkpoint(run) is not None
    warned = [m for m in listener.messages if "nobody listens" in m]
    assert len(warned) == 1
    assert "training continues" in warned[0]


def test_metrics_that_cannot_be_written_are_a_warning(tiny: Callable[..., Config], tmp_path: Path) -> None:
    listener = RecordingMonitor()
    monitors = MonitorList([MetricsFile(), listener])
    monitors.call("on_start", tmp_path / "gone", 0)
    monitors.call("on_losses", TrainStatus(1, 1, 0.1, 0.1, 1.0, 0.1, 1e-4), {"G_A": 1.0})
    assert "MetricsFile failed" in listener.messages[0]


def test_unreadable_images_are_named_once_left_out_and_counted(
    tiny: Callable[..., Config], data: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(data, copy)
    (copy / "trainA" / "00.png").write_text("this is no image")
    (copy / "trainB" / "half.png").write_bytes((copy / "trainB" / "00.png").read_bytes()[:300])
    listener = RecordingMonitor()
    train(tiny(data=copy, max_steps=20), monitors=[listener])
    assert sum("00.png is not an image" in m for m in listener.messages) == 1
    assert sum("half.png is damaged" in m for m in listener.messages) == 1
    assert listener.messages[-1] == "2 unreadable images were left out."
    for workers in (0, 1):
        with pytest.raises(UnreadableImage, match=r"00.png|half.png") as error:
            train(tiny(data=copy, max_steps=20, strict=True, workers=workers))
        assert "\n" not in str(error.value)
        assert not multiprocessing.active_children()  # although `error` keeps the traceback with all its frames


def test_a_domain_without_a_readable_image_is_an_error(tiny: Callable[..., Config], tmp_path: Path) -> None:
    draw_images(tmp_path / "d" / "trainA", 2, 0)
    (tmp_path / "d" / "trainB").mkdir()
    for name in ("x.jpg", "y.jpg"):
        (tmp_path / "d" / "trainB" / name).write_text("text")
    with pytest.raises(UsageError, match="None of the 2 images"):
        train(tiny(data=tmp_path / "d", max_steps=2))


def test_crops_that_are_too_small_and_batches_of_unequal_sizes_are_refused(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="at least 24x24 pixels; this one has 16x16"):
        train(tiny(load_size=16, crop_size=16))
    assert not tiny().run.runs.exists()
    draw_images(tmp_path / "d" / "trainA", 2, 0, size=40)
    draw_images(tmp_path / "d" / "trainB", 2, 0, size=40)
    Image.new("RGB", (80, 60)).save(tmp_path / "d" / "trainA" / "large.png")
    with pytest.raises(UsageError, match="different sizes cannot share a batch"):
        train(tiny(data=tmp_path / "d", preprocess="none", batch_size=3))
    train(tiny(data=tmp_path / "d", preprocess="none", batch_size=1, max_steps=3))


def test_gray_domains_train(tiny: Callable[..., Config]) -> None:
    run = train(tiny(channels_a=1, lambda_identity=0.0, max_steps=2))
    weights = load_file(run / "checkpoints" / "latest" / "weights.safetensors")
    assert weights["generators.G.stem.1.weight"].shape[1] == 1
    assert weights["generators.F.stem.1.weight"].shape[1] == 3


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


def test_sample_grids_have_headings_and_cells_in_place() -> None:
    columns = {"input": torch.ones(2, 3, 32, 32), "translated": -torch.ones(2, 3, 32, 32)}
    sheet = np.asarray(sample_grid(columns))
    assert sheet.shape == (HEADING + 2 * 96 + GAP, 2 * 96 + GAP, 3)
    assert (sheet[HEADING : HEADING + 96, 96 + GAP :] == 0).all()
    assert sheet[:HEADING].min() < 128  # something is written there


def test_no_warning_of_a_library_is_shown(tiny: Callable[..., Config], recwarn: pytest.WarningsRecorder) -> None:
    """Of loader processes on few CPU cores, and of a precision that CPUs do not have."""
    train(tiny(max_steps=1, workers=cpu_count() + 1, precision="16-mixed", schedule="plateau"), progress=False)
    assert [str(warning.message) for warning in recwarn.list] == []
