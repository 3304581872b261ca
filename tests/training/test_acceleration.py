"""What is set for speed: math modes, memory format, compiled networks, the batch size that fits."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from cyclegan.config.presets import Environment, auto_settings
from cyclegan.config.schema import Config
from cyclegan.training.acceleration import compile_networks, set_math_modes, slow_precision
from cyclegan.training.batch_size import fit_batch_size
from cyclegan.training.step import TrainState


@pytest.fixture
def math_modes() -> Iterator[None]:
    benchmark, precision = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    yield
    torch.backends.cudnn.benchmark = benchmark
    torch.set_float32_matmul_precision(precision)


@pytest.mark.usefixtures("math_modes")
def test_math_modes_are_set_for_cuda_alone(tiny: Callable[..., Config]) -> None:
    before = torch.get_float32_matmul_precision()
    set_math_modes(torch.device("cpu"), tiny())
    assert (torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()) == (False, before)
    set_math_modes(torch.device("cuda"), tiny())
    assert (torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()) == (True, "high")
    set_math_modes(torch.device("cuda"), tiny(preprocess="none"))
    assert not torch.backends.cudnn.benchmark


def test_auto_chooses_bfloat16_where_the_gpu_has_it() -> None:
    assert auto_settings(Environment(256, 24.0, has_bfloat16=True), "")["precision"] == "bf16-mixed"
    assert auto_settings(Environment(256, 24.0), "")["precision"] == "32-true"
    assert auto_settings(Environment(256, 3.0), "")["precision"] == "16-mixed"
    assert str(Environment(256, 24.0, has_bfloat16=True)) == "GPU with 24 GiB and bfloat16, images of 256 pixels"


def losses(config: Config, steps: int = 2) -> tuple[list[dict[str, float]], TrainState]:
    """The losses of training steps on random images."""
    state = TrainState(config, Fabric(accelerator="cpu", devices=1, precision=config.run.precision))
    a, b = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for _ in range(steps):
        state.train_step([{"A": a, "B": b}])
    return state.unlogged_losses, state


def assert_close(a: list[dict[str, float]], b: list[dict[str, float]]) -> None:
    """Adam magnifies rounding from step to step."""
    for first, second, tolerance in zip(a, b, (1e-5, 1e-3), strict=True):
        assert first == pytest.approx(second, rel=tolerance, abs=tolerance)


def test_channels_last_changes_the_memory_and_not_the_numbers(tiny: Callable[..., Config]) -> None:
    plain, _ = losses(tiny(winograd=False))
    last, state = losses(tiny())  # the default on CPUs
    weights = [p for p in state.method.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
    assert_close(plain, last)


def test_bfloat16_on_a_cpu_that_only_emulates_it_is_called_slow() -> None:
    cpu, precision = torch.device("cpu"), "bf16-mixed"
    assert "--precision 32-true is faster" in str(slow_precision(precision, cpu, False))
    assert slow_precision(precision, cpu, True) is slow_precision(precision, cpu, None) is None
    assert slow_precision("32-true", cpu, False) is slow_precision(precision, torch.device("cuda"), False) is None


def test_bfloat16_with_channels_last_gives_the_losses_of_single_precision_roughly(tiny: Callable[..., Config]) -> None:
    single, _ = losses(tiny(), steps=1)
    rough, state = losses(tiny(precision="bf16-mixed"), steps=1)
    assert state.memory_format == torch.channels_last
    assert rough[0] == pytest.approx(single[0], rel=0.05, abs=0.02)


def test_channels_last_leaves_out_wgan_gp_whose_gradients_are_differentiated(
    tiny: Callable[..., Config],
) -> None:
    _, state = losses(tiny(objective="wgangp", channels_last=True), steps=1)
    assert state.is_finite() and state.memory_format == torch.contiguous_format


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"norm": "batch", "objective": "wgangp"},
        {"generator": "space_to_depth_4", "augment": "diffaugment"},
        {"method": "pix2pix", "generator": "unet_64", "dropout": False},
        {"method": "colorization", "generator": "unet_64", "dropout": False},
        {"generator": "resnet_light", "antialias": True, "discriminator": "dual", "detach_cycle": True},
        {"generator": "attention", "discriminator": "pixel", "objective": "minimax"},
        {"generator": "attention_resnet", "structure": "self_similarity", "discriminator": "n_layers"},
        {"discriminator": "projected"},
        {"method": "cut", "nce_layers": (0, 4)},
        {"method": "fastcut", "nce_layers": (0, 4)},
        {"method": "dcl", "nce_layers": (0, 4)},
        {"method": "distill", "generator": "space_to_depth", "teacher_generator": "resnet", "teacher_width": 4},
    ],
)
def test_a_compiled_step_equals_an_eager_one(tiny: Callable[..., Config], settings: dict[str, Any]) -> None:
    torch.compiler.reset()
    eager, _ = losses(tiny(**settings, winograd=False))
    compiled, state = losses(tiny(**settings, winograd=False, compile=True))
    assert state.notes == []
    assert_close(eager, compiled)


@pytest.mark.slow
def test_without_a_working_compiler_the_networks_stay_as_they_are(tiny: Callable[..., Config]) -> None:
    eager, state = losses(tiny())
    problem = compile_networks(state.method, {"A": torch.zeros(1, 5, 64, 64)})  # fails as a compiler may
    assert problem is not None
    assert problem.startswith("The networks are not compiled, since torch.compile fails here: ")
    assert "\n" not in problem
    again, _ = losses(tiny())
    assert eager == again


def test_the_batch_size_that_fits(tiny: Callable[..., Config]) -> None:
    assert tiny(batch_size=0).data.batch_size == 1  # on a CPU
    measured = []

    def measure(config: Config) -> float:
        measured.append(config.data.batch_size)
        return 2 + 3 * config.data.batch_size

    config = fit_batch_size(tiny(), memory=80.0, measure=measure)  # (0.85 * 80 - 2) / 3 = 22
    assert (measured, config.data.batch_size) == ([1, 2], 16)
    assert config.optimizer.learning_rate == 4 * 2e-4
    assert config.sources["batch_size"] == config.sources["learning_rate"] == "batch size 0, in 80 GiB"
    assert fit_batch_size(tiny(learning_rate=1e-3), memory=80.0, measure=measure).optimizer.learning_rate == 1e-3
    assert fit_batch_size(tiny(), memory=4.0, measure=measure).data.batch_size == 1
