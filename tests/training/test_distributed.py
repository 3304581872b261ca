"""Several processes on one machine: gradients, shares of the data, one writer, resume."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.run import get_args_parser

import cyclegan.cli.main  # noqa: F401  (registers the commands)
from conftest import TINY, flags, has_steps, run, start, tensors, wait_until
from cyclegan.cli.app import COMMANDS, option_names
from cyclegan.config.schema import Config
from cyclegan.errors import UsageError
from cyclegan.runs import checkpoint
from cyclegan.runs.folder import read_run
from cyclegan.system.machine import local_processes
from cyclegan.training.distributed import describe_devices
from cyclegan.training.trainer import train

STEP = """
import sys, torch
from lightning_fabric import Fabric
from cyclegan.training.setup import configure
from cyclegan.training.step import TrainState

torch.set_default_dtype(torch.float64)
processes, out = int(sys.argv[1]), sys.argv[2]
fabric = Fabric(accelerator="cpu", devices=processes, strategy="ddp" if processes > 1 else "auto")
fabric.launch()
constraints = dict(pairs="pairs", lambda_pairs_gan=1.0, masks="composite", labels=True, label_classes=3)
contrast = dict(nce_layers=(7, 10))  # of at most 256 locations, all of which are compared
gradients = {}
for case in ({}, constraints, dict(method="dcl") | constraints | contrast, dict(method="cut") | contrast):
    config = configure("paper", **{"generator": "resnet", "generator_width": 4, "blocks": 1, "discriminator_width": 4,
                       "pool_size": 0, "antialias": False, "device": "cpu", "batch_size": 2 // processes} | case)
    training = TrainState(config, fabric)
    random = torch.Generator().manual_seed(0)
    both = torch.rand(4, 2, 3, 32, 32, generator=random, dtype=torch.float64) * 2 - 1
    classes = torch.randint(0, 3, (2, 1, 32, 32), generator=random) / 127.5 - 1
    batch = dict(A=both[0], B=both[1])
    if "pairs" in case:
        batch |= dict(pairs_A=both[2], pairs_B=both[3], mask_A=both[2, :, :1], mask_B=both[3, :, :1], label_B=classes)
    for optimizer in training.optimizers:
        def step(original=optimizer.step):
            for name, parameter in training.method.named_parameters():
                if parameter.grad is not None:
                    gradients[f"{len(case)} {config.loss.method} {name}"] = parameter.grad.clone()
            return original()
        optimizer.step = step
    training.train_step([{name: images.chunk(processes)[fabric.global_rank] for name, images in batch.items()}])
if fabric.is_global_zero:
    from safetensors.torch import save_file
    save_file({k: v.contiguous() for k, v in gradients.items()}, out)
"""


@pytest.mark.processes
def test_two_processes_of_batch_1_have_the_gradients_of_one_of_batch_2(tmp_path: Path) -> None:
    script = tmp_path / "step.py"
    script.write_text(STEP)
    for processes in (1, 2):
        result = subprocess.run(
            [sys.executable, script, str(processes), tmp_path / f"{processes}.safetensors"],
            capture_output=True,
            text=True,
            timeout=900,  # a busy machine runs its processes in turn
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert result.returncode == 0, result.stderr
    one, two = (load_file(tmp_path / f"{n}.safetensors") for n in (1, 2))
    assert one.keys() == two.keys()
    for name in ("generators.G", "discriminators.D_X", "discriminators.P", "discriminators.S", "projections.H_Y"):
        assert any(f" dcl {name}." in key for key in one)
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.processes
@pytest.mark.slow
def test_two_processes_train_keep_their_own_histories_and_resume(data: Path, tmp_path: Path) -> None:
    words = ["train", data, "--preset", "paper", *flags(**TINY, runs=tmp_path, devices=2, dropout=True)]
    # A constant rate, because a budget of steps is part of the schedule.
    parts = run(*words, "--name", "parts", "--max-steps", 4, "--schedule", "constant")
    assert parts.returncode == 0, parts.stderr
    assert parts.stderr.count("Run folder") == 1
    assert "Warning: " not in parts.stderr.replace("Warning: There are few images", "")  # of libraries
    whole = run(*words, "--name", "whole", "--max-steps", 8, "--schedule", "constant")
    assert whole.returncode == 0, whole.stderr
    resumed = run("resume", tmp_path / "parts", "--max-steps", 8)
    assert resumed.returncode == 0, resumed.stderr
    a, b = tensors(tmp_path / "whole"), tensors(tmp_path / "parts")
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []
    assert not torch.equal(a["process-0.history.A.0"], a["process-1.history.A.0"])
    assert (tmp_path / "whole" / "metrics.csv").read_text().count("\n") == 9


def test_the_number_of_gpus_used_is_described() -> None:
    assert describe_devices(8, 8) == "all 8 GPUs"
    assert describe_devices(1, 1) == "1 GPU"
    assert describe_devices(1, 8) == "1 of 8 GPUs are used; --devices auto uses all"


def test_devices_auto_is_one_process_on_a_cpu(tiny: Callable[..., Config]) -> None:
    folder = train(tiny(devices="auto", max_steps=2), progress=False)
    assert read_run(folder).run.devices == "auto"
    assert has_steps(folder, 2)
    assert local_processes("auto", "cpu") == 1
    assert local_processes(3, "cpu") == 3


@pytest.mark.parametrize("devices", ["all", 0])
def test_devices_are_a_number_or_auto(tiny: Callable[..., Config], devices: str | int) -> None:
    with pytest.raises(UsageError, match=rf"^--devices is {devices!r}; it must be"):
        tiny(devices=devices)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_device_that_is_missing_is_named(tiny: Callable[..., Config]) -> None:
    with pytest.raises(UsageError, match=r"^The device 'cuda' is not available on this machine"):
        train(tiny(device="cuda"), progress=False)


LEAVE = """
import atexit, sys, weakref, torch
from cyclegan.errors import UsageError
from cyclegan.training.setup import configure
from cyclegan.training.distributed import launch, on_rank_zero
from cyclegan.training.step import TrainState

groups = []
atexit.register(lambda: sys.stdout.write(f"{torch.distributed.is_initialized()} {groups[0]()}\\n"))  # runs last

def fail():
    raise UsageError("no")

def fail_with_wrapped_networks():
    config = configure("paper", generator_width=4, blocks=1, discriminator_width=4, device="cpu", devices=2)
    state = TrainState(config, launch(config))
    groups.append(weakref.ref(torch.distributed.group.WORLD))
    on_rank_zero(state.fabric, fail)

try:
    fail_with_wrapped_networks()
except UsageError:
    pass  # it is in a cycle with the frames that it passed, which hold the networks, which hold the group
"""


@pytest.mark.processes
def test_the_process_group_ends_before_the_interpreter(tmp_path: Path) -> None:
    """Its threads would now and then abort a process that has done its work."""
    script = tmp_path / "leave.py"
    script.write_text(LEAVE)
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=240)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["False", "None"] * 2


@pytest.mark.parametrize("command", ["train", "resume"])
def test_torchrun_passes_every_option_on(command: str) -> None:
    """Its parser refuses those that could be short for several of its own, also after the script's name."""
    words = [command, *option_names(COMMANDS[command])]
    assert get_args_parser().parse_args(["-m", "cyclegan", *words]).training_script_args == words


@pytest.mark.processes
@pytest.mark.slow
def test_torchrun_and_fabric_run_can_launch_training(data: Path, tmp_path: Path) -> None:
    import cyclegan

    module = Path(cyclegan.__file__).parent / "__main__.py"
    bin_folder = Path(sys.executable).parent
    words = [str(data), "--preset", "paper", *flags(**TINY, runs=tmp_path, max_steps=4)]
    launchers = {
        "torchrun": [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "cyclegan"],
        "fabric": [str(bin_folder / "fabric"), "run", "--accelerator", "cpu", "--devices", "2", str(module)],
    }
    for name, launcher in launchers.items():
        result = subprocess.run(
            [*launcher, "train", *words, "--name", name],
            capture_output=True,
            text=True,
            timeout=240,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert result.returncode == 0, result.stderr
        assert len(list((tmp_path / name / "checkpoints" / "latest").glob("process-*.safetensors"))) == 2


@pytest.mark.processes
def test_interrupting_two_processes_saves_once(data: Path, tmp_path: Path) -> None:
    words = ["train", data, "--preset", "paper", *flags(**TINY, runs=tmp_path, devices=2, name="stopped")]
    process = start(*words, start_new_session=True)
    wait_until(lambda: has_steps(tmp_path / "stopped", 3), process)
    process.send_signal(signal.SIGTERM)  # to the first only: it tells the other
    _, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "Resume with: cyclegan resume" in err
    assert "Traceback" not in err
    assert checkpoint.latest_checkpoint(tmp_path / "stopped") is not None


@pytest.mark.processes
def test_when_a_process_is_killed_the_first_says_so_and_fails(data: Path, tmp_path: Path) -> None:
    process = start("train", data, "--preset", "paper", *flags(**TINY, runs=tmp_path, devices=2, name="run"))
    wait_until(lambda: has_steps(tmp_path / "run", 1), process)
    (other,) = (p for p in psutil.Process(process.pid).children() if p.environ().get("LOCAL_RANK") == "1")
    other.kill()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1, err  # not killed by Fabric's observer
    assert err.count("cyclegan: Another process of this run has ended") == 1
    assert "Traceback" not in err


def test_a_restart_by_torchrun_continues_the_run_that_it_began(
    tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")  # the first restart, before a run was created
    folder = train(tiny(max_steps=1), progress=False)
    assert train(tiny(max_steps=1), progress=False) == folder
    os.utime(folder / "config.toml", (0, 0))  # begun before this launcher
    assert train(tiny(max_steps=1), progress=False) != folder


@pytest.mark.processes
def test_an_error_on_the_first_process_is_printed_once_and_ends_all(data: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    words = ["train", data, "--preset", "paper", *flags(**TINY, runs=tmp_path, devices=2, name="taken")]
    result = run(*words)
    assert result.returncode == 2
    assert result.stderr.count("taken exists; choose another --name") == 1
    assert "Traceback" not in result.stderr
