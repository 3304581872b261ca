"""Run folders: creating, reading and locking them; and telling runs, checkpoints, models and exports apart."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count, takewhile
from pathlib import Path
from typing import Literal

import psutil
from filelock import FileLock, Timeout

from cyclegan.config.schema import Config
from cyclegan.config.toml import from_toml, to_toml
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.system.atomic import write_text
from cyclegan.system.text import quote

PROCESS_FILE = ".process"  # in a run folder that is or was trained: the number of the process, and its machine
SILENT_SECONDS = 120.0  # after which a run that cannot be locked counts as ended


def identify(path: Path) -> Literal["run", "checkpoint", "model", "export"]:
    """What a path holds; any file counts as an export. Raises `UsageError` when it is none of these."""
    if path.is_file():
        return "export"
    if is_model_folder(path):
        return "model"
    if (path / "config.toml").is_file():
        return "checkpoint" if (path / "state.json").is_file() else "run"
    if path.parent.name == "checkpoints" and path.parent.is_dir() and not path.exists():
        require_checkpoint(path.parents[1], path.name)
    if not path.exists():
        raise UsageError(f"{path} does not exist; give a run folder such as runs/NAME.")
    raise UsageError(f"{path} is not a run, a checkpoint or a model; give a folder such as runs/NAME.")


def require_checkpoint(run: Path, name: str) -> None:
    """Raise `UsageError`, listing those that exist, unless the run has the checkpoint `name`."""
    folders = (path.parent.name for path in (run / "checkpoints").glob("*/state.json"))
    names = sorted(name for name in folders if not name.startswith("."))
    if name not in names:
        first = "; 'best' is saved at the first measurement (--measure-every)" * (name == "best")
        raise UsageError(f"{run} has no checkpoint {name!r}; it has {', '.join(names) or 'none yet'}{first}.")


def is_model_folder(folder: Path) -> bool:
    """Whether a folder has the files of a model."""
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()


def read_run(run: Path) -> Config:
    """The configuration of a run folder or checkpoint. Raises `UsageError` for other folders and invalid settings."""
    if not (run / "config.toml").is_file():
        raise UsageError(f"{run} is not a run folder (it has no config.toml); give a folder such as runs/NAME.")
    return from_toml(run / "config.toml")


def create_run_folder(config: Config) -> Path:
    """Create the run's folder with its ``config.toml``; an unnamed run takes the next free name after its data.

    Raises `UsageError` when a run of the given name exists, `CycleGANError` when the folder cannot be created.
    """
    run = next_run_folder(config)
    try:
        run.mkdir(parents=True)
    except OSError as error:
        raise CycleGANError(f"The run folder {run} cannot be created: {error.strerror}.") from None
    write_config(config, run)
    return run


def next_run_folder(config: Config) -> Path:
    """The folder that a new run gets. Raises `UsageError` when a run of the given name exists."""
    for run in _folders(config):
        if not run.exists():
            return run
    raise UsageError(f"{run} exists; choose another --name, or continue it with `{quote('cyclegan', 'resume', run)}`.")


def _folders(config: Config) -> Iterator[Path]:
    """The folders that a run may get: that of its name, or without a name NAME, NAME-2, NAME-3 and so on."""
    data = config.data
    folders = [data.data] if data.data else [data.a, data.b]
    name = config.run.name or "2".join(folder.resolve().name for folder in folders if folder is not None)
    yield config.run.runs / name
    if not config.run.name:
        yield from (config.run.runs / f"{name}-{number}" for number in count(2))


def restarted_run(config: Config) -> Path | None:
    """The run to continue after a restart by `torchrun --max-restarts`: the last one, if this launcher began it."""
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        return None
    *_, last = None, *takewhile(Path.exists, _folders(config))
    with suppress(OSError):  # the run has not been created yet
        if last is not None and (last / "config.toml").stat().st_mtime >= psutil.Process(os.getppid()).create_time():
            return last
    return None


def absolute_paths(config: Config) -> Config:
    """The configuration with absolute paths, so that runs and checkpoints work from any working directory."""
    paths = vars(config.data) | vars(config.networks)
    return config.with_settings(**{n: v.resolve() for n, v in paths.items() if isinstance(v, Path)})


def write_config(config: Config, run: Path) -> None:
    """Write ``config.toml``."""
    write_text(run / "config.toml", to_toml(config))


def being_trained(run: Path) -> UsageError:
    """The error for a run that another process has locked."""
    return UsageError(f"{run} is being trained by another process; wait for it, or stop it first.")


def lock_run(run: Path) -> FileLock:
    """Lock the run folder until `release` or the end of the process. Raises `UsageError` if another has it."""
    lock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=0.5)  # `is_training` may hold it for a moment
    except Timeout:
        raise being_trained(run) from None
    except OSError:  # file systems without locks must not prevent training
        pass
    with suppress(CycleGANError):
        write_text(run / PROCESS_FILE, f"{os.getpid()} {socket.gethostname()}\n")
    return lock


def stop_run(run: Path) -> None:
    """Ask the process that trains a run to save and stop, as Ctrl-C does.

    Raises `UsageError` when none does, and when it runs on another machine or belongs to another user.
    """
    if not is_training(run):
        raise UsageError(f"{run} is not being trained.")
    try:
        number, host = (run / PROCESS_FILE).read_text(encoding="utf-8").split()
        if host != socket.gethostname():
            raise UsageError(f"{run} is being trained on {host}; stop it there.")
        os.kill(int(number), signal.SIGTERM)
    except (OSError, ValueError):
        raise UsageError(f"The process that trains {run} cannot be stopped from here; stop it where it runs.") from None


def is_training(run: Path) -> bool:
    """Whether a process has locked the run folder. Where locks are not supported, whether it wrote to it recently."""
    file = run / ".lock"
    if not file.exists():
        return False
    try:
        with FileLock(file, timeout=0):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        with suppress(OSError):
            return time.time() - (run / "metrics.csv").stat().st_mtime < SILENT_SECONDS
        return False
