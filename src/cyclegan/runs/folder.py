"""The folder of a run: its name, its ``config.toml``, and that only one training writes to it."""

from pathlib import Path

from filelock import FileLock, Timeout

from cyclegan.config.schema import Config
from cyclegan.config.toml import from_toml, to_toml
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.system.atomic import write_text


def read_run(run: Path) -> Config:
    """The configuration of a run folder. Raises `UsageError` when it is none."""
    if not (run / "config.toml").is_file():
        raise UsageError(f"{run} is no run folder (it has no config.toml); give the folder that training named.")
    return from_toml(run / "config.toml")


def create_run_folder(config: Config) -> Path:
    """Make the run's folder with its ``config.toml``; an unnamed run gets the next free name of its data.

    Raises `UsageError` when a named one exists already.
    """
    data = config.data
    folders = [data.data] if data.data else [data.a, data.b]
    name = config.run.name or "2".join(folder.resolve().name for folder in folders if folder is not None)
    run, number = config.run.runs / name, 1
    while run.exists():
        if config.run.name:
            raise UsageError(f"{run} exists; choose another --name, or go on with `cyclegan resume {run}`.")
        number += 1
        run = config.run.runs / f"{name}-{number}"
    try:
        run.mkdir(parents=True)
        write_config(config, run)
    except OSError as error:
        raise CycleGANError(f"The run folder {run} cannot be made: {error.strerror}.") from None
    return run


def write_config(config: Config, run: Path) -> None:
    """Write ``config.toml`` with absolute paths, so that the run resumes from anywhere."""
    paths = vars(config.data) | vars(config.networks)
    config = config.with_settings(**{n: v.resolve() for n, v in paths.items() if isinstance(v, Path)})
    write_text(run / "config.toml", to_toml(config))


def lock_run(run: Path) -> FileLock:
    """Hold the run folder until `release` or the end of the process, however it ends.

    Raises `UsageError` when another process holds it.
    """
    held = FileLock(run / ".lock")
    try:
        held.acquire(timeout=0)
    except Timeout:
        raise UsageError(f"{run} is being trained by another process; wait for it, or stop it first.") from None
    except OSError:  # a file system without locks must not keep anybody from training
        pass
    return held
