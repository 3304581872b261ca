"""Several processes and machines as one training, through Lightning Fabric."""

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric

from cyclegan.config.schema import Config
from cyclegan.errors import CycleGANError, UsageError, describe_os_error

Result = TypeVar("Result")


def launch(config: Config) -> Fabric:
    """Start the processes the configuration asks for, or join those that `torchrun` or `fabric run` started.

    Raises `UsageError` when the machine has no such device.
    """
    run = config.run
    devices: int | str = run.devices
    nodes, accelerator = run.nodes, run.device
    if "LT_CLI_USED" in os.environ:  # `fabric run` hands these over itself, and wants no second opinion
        devices, nodes, accelerator = "auto", 1, "auto"
    elif "TORCHELASTIC_RUN_ID" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    several = devices == "auto" or int(devices) * nodes > 1
    try:
        fabric = Fabric(
            accelerator=accelerator,
            devices=devices,
            num_nodes=nodes,
            precision=None if "LT_PRECISION" in os.environ else run.precision,
            # Each backward pass reaches one side of the game only.
            strategy="ddp_find_unused_parameters_true" if several and "LT_STRATEGY" not in os.environ else "auto",
        )
    except Exception as error:  # lightning's MisconfigurationException derives from Exception alone
        raise UsageError(f"--device {accelerator} --devices {devices}: {error}") from None
    if "LT_CLI_USED" not in os.environ:
        fabric.launch()
    if fabric.world_size > 1:
        atexit.register(_leave)
    return fabric


def _leave() -> None:
    """End the threads of the process group, which abort the process if they outlive the interpreter."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def on_first_process(fabric: Fabric, work: Callable[[], Result]) -> Result:
    """What `work` returns on the first process, for all of them; or the `CycleGANError` it raised, in all of them."""
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
def each_for_itself(fabric: Fabric) -> Iterator[None]:
    """Where processes may fail one by one: an error that they do not share is this one's own, and so to be said here.

    That another process has ended shows as a broken connection; it becomes a `CycleGANError`.
    """
    try:
        yield
    except CycleGANError as error:
        error.alone = fabric.world_size > 1 and not error.shared
        raise
    except RuntimeError as error:
        if not (isinstance(error, torch.distributed.DistError) or "gloo" in str(error)):
            raise
        raise CycleGANError("Another process of this training has ended; it has said why, if it could.") from None


def together(fabric: Fabric, mine: Result) -> list[Result]:
    """What every process hands in, on all of them."""
    if fabric.world_size == 1:
        return [mine]
    parts: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(parts, mine)
    return parts
