"""Distributed training on several GPUs, processes and machines, by Lightning Fabric."""

import atexit
import gc
import logging
import os
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy

from cyclegan.config.schema import Config
from cyclegan.errors import CycleGANError, UsageError, describe_os_error
from cyclegan.system.machine import find_device, local_processes

Result = TypeVar("Result")
LOST = ("gloo", "caused pair closure")  # in PyTorch's errors when the connection to another process is lost
END_SECONDS = 30.0  # that the first process waits for the others to end


def silence_banners() -> None:
    """Hide what Lightning prints once per process, and warnings for which the display has its own words."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    for start in (
        "This DataLoader will create",
        r"You passed `Fabric\(accelerator='cpu', precision='16-mixed'\)`",
        "Grad strides do not match bucket view strides",  # of a weight with one channel, whose strides are ambiguous
    ):
        warnings.filterwarnings("ignore", start)


def launch(config: Config) -> Fabric:
    """Start the configured number of processes, or join those started by `torchrun` or `fabric run`.

    Raises `UsageError` when the device is not available.
    """
    silence_banners()
    run = config.run
    devices: int | str = local_processes(run.devices, run.device)
    nodes, accelerator = run.nodes, run.device
    if "LT_CLI_USED" in os.environ:  # `fabric run` sets these itself and refuses others
        devices, nodes, accelerator = "auto", 1, "auto"
    elif "TORCHELASTIC_RUN_ID" in os.environ:
        nodes = int(os.environ["WORLD_SIZE"]) // int(devices)
    distributed = devices == "auto" or int(devices) * nodes > 1
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            precision=None if "LT_PRECISION" in os.environ else run.precision,
            strategy=DDPStrategy(timeout=timedelta(minutes=run.process_timeout))
            if distributed and "LT_STRATEGY" not in os.environ
            else "auto",
        )
    except Exception as error:  # lightning's MisconfigurationException derives from Exception alone
        find_device(accelerator)  # names a missing device in our own words
        raise UsageError(f"--device {accelerator} --devices {devices}: {error}") from None
    if distributed:
        _join_after_restart(fabric.device.type, timedelta(minutes=run.process_timeout))
    if "LT_CLI_USED" not in os.environ:
        fabric.launch()
    if fabric.world_size > 1:
        atexit.register(_end_processes, getattr(fabric.strategy.launcher, "procs", []))
    return fabric


def _join_after_restart(device: str, timeout: timedelta) -> None:
    """Form the process group of a restart by torchrun, whose store still has the addresses of the ended processes."""
    variables, distributed = os.environ, torch.distributed
    restart = variables.get("TORCHELASTIC_RESTART_COUNT", "0")
    if restart != "0" and variables.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        agent = distributed.TCPStore(variables["MASTER_ADDR"], int(variables["MASTER_PORT"]), is_master=False)  # type: ignore[attr-defined]
        distributed.init_process_group(
            "nccl" if device == "cuda" else "gloo",
            store=distributed.PrefixStore(f"restart-{restart}", agent),  # type: ignore[attr-defined]
            rank=int(variables["RANK"]),
            world_size=int(variables["WORLD_SIZE"]),
            timeout=timeout,
        )


def describe_devices(used: int, available: int) -> str:
    """How many of the GPUs are used, and the option that uses all of them."""
    if used < available:
        return f"{used} of {available} GPUs are used; --devices auto uses all"
    return "1 GPU" if used == 1 else f"all {used} GPUs"


def _end_processes(observed: list[subprocess.Popen[bytes]]) -> None:
    """End the process group, and wait for the processes that this one has started; kill those that do not end."""
    processes = observed[:]
    observed.clear()  # Fabric's observer would kill this process when another has failed
    # A thread of the group that still releases a tensor while the interpreter ends aborts the process. They end with
    # the last reference to the group. The wrapped networks hold one, and are themselves part of a cycle.
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    gc.collect()
    for process in processes:
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def on_rank_zero(fabric: Fabric, work: Callable[[], Result]) -> Result:
    """Run `work` on the first process only and return its result, or raise its `CycleGANError`, on all processes."""
    outcome: tuple[Any, CycleGANError | None] = (None, None)
    if fabric.is_global_zero:
        try:
            outcome = (work(), None)
        except CycleGANError as error:
            outcome = (None, error)
        except OSError as error:
            outcome = (None, CycleGANError(describe_os_error(error)))
    result, problem = fabric.broadcast(outcome)
    if problem is not None:
        problem.shared = True
        raise problem
    return result


@contextmanager
def independent_failures() -> Iterator[None]:
    """Within this block processes may fail independently: an unshared error is marked as raised by this one alone.

    The lost connection to a process that has ended or does not answer becomes a `CycleGANError`.
    """
    distributed = torch.distributed
    try:
        yield
    except CycleGANError as error:
        error.alone = distributed.is_available() and distributed.is_initialized() and not error.shared
        raise
    except RuntimeError as error:
        text = str(error).lower()
        if not isinstance(error, distributed.DistError) and not any(words in text for words in LOST):
            raise
        silent = "timed out" in text or "timeout" in text
        reason = "did not answer within --process-timeout" if silent else "has ended; see its message, or it was killed"
        lost = CycleGANError(f"Another process of this run {reason}. Continue with `cyclegan resume`.")
        # The first process prints it. So must the second, since the first may be the one that ended.
        lost.alone = distributed.is_initialized() and distributed.get_rank() == 1
        raise lost from None


def all_gather_objects(fabric: Fabric, value: Result) -> list[Result]:
    """The values of all processes, on all of them."""
    if fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(values, value)
    return values


def gather_on_rank_zero(fabric: Fabric, value: Result) -> list[Result]:
    """The values of all processes on the first; an empty list on the others."""
    if fabric.world_size == 1:
        return [value]
    values: list[Any] | None = [None] * fabric.world_size if fabric.is_global_zero else None
    torch.distributed.gather_object(value, values, dst=0)
    return values or []
