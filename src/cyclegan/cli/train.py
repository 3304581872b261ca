"""`cyclegan train` and `cyclegan resume`."""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Optional

import tyro
from typing_extensions import Doc

from cyclegan.cli.evaluate import print_report
from cyclegan.cli.options import is_first_process, parse
from cyclegan.config.presets import PresetName
from cyclegan.config.schema import Config
from cyclegan.config.toml import from_toml
from cyclegan.errors import UsageError
from cyclegan.methods.registry import validate_method
from cyclegan.training.setup import preset_settings, with_load_size


@dataclass
class Train:
    """Learn to translate between two folders of images.

    Defaults are those of the preset `paper`. [C] is the paper, [R] its authors' PyTorch repository.
    """

    preset: Annotated[
        PresetName,
        Doc("auto: what suits images and machine; paper: the authors' setting; small: 128x128; fast: light."),
    ] = "auto"
    config: Annotated[Optional[Path], Doc("Take all settings from this config.toml instead of a preset.")] = None
    settings: Annotated[Config, tyro.conf.arg(name="", help="")] = field(default_factory=Config)


@dataclass
class Resume:
    """Go on with a training from its last checkpoint, as if it had never stopped."""

    run: Annotated[Path, tyro.conf.Positional, Doc("The run folder.")]
    checkpoint: Annotated[Optional[str], Doc("Another checkpoint than the last, such as step-0001000.")] = None
    data: Annotated[Optional[Path], Doc("The data's folder, if it has moved.")] = None
    a: Annotated[Optional[Path], Doc("Folder of domain A, if it has moved.")] = None
    b: Annotated[Optional[Path], Doc("Folder of domain B, if it has moved.")] = None
    max_steps: Annotated[Optional[int], Doc("New budget in steps, from the run's beginning.")] = None
    max_minutes: Annotated[Optional[float], Doc("New budget in minutes, from the run's beginning.")] = None
    epochs: Annotated[Optional[int], Doc("New number of epochs at the initial learning rate.")] = None
    epochs_decay: Annotated[Optional[int], Doc("New number of epochs of decay.")] = None
    patience: Annotated[Optional[int], Doc("New number of measurements without a new best; 0 never stops.")] = None
    workers: Annotated[Optional[int], Doc("Loader processes.")] = None
    device: Annotated[Optional[str], Doc("auto, cpu, cuda, mps, ...")] = None
    devices: Annotated[Optional[int], Doc("Processes (GPUs) on this machine.")] = None


def train(arguments: list[str]) -> None:
    """`cyclegan train DATA`."""
    options = parse(Train, "cyclegan train", arguments)
    config = _configuration(options, arguments)

    from cyclegan.cli.progress import TerminalDisplay, hush
    from cyclegan.data.check.check import fast_check
    from cyclegan.data.select import find_data
    from cyclegan.training import trainer

    if is_first_process():
        for line in fast_check(config, find_data(config)):
            print(line, file=sys.stderr)
    hush()
    _finish(trainer.train(config, monitors=[TerminalDisplay()]))


def _configuration(options: Train, arguments: list[str]) -> Config:
    """The preset or file with the user's own settings over it: a second parse of the same words."""
    given = options.settings
    if options.config is not None:
        if any(word.split("=")[0] == "--preset" for word in arguments):
            raise UsageError("Give either --preset or --config, not both.")
        base = from_toml(options.config).with_settings(name=None)  # the run of that name exists
    elif options.preset == "auto":
        from cyclegan.training.setup import detect_environment

        settings, why = detect_environment(given)
        if given.run.max_steps is not None or (given.optimizer.epochs, given.optimizer.epochs_decay) != (100, 100):
            settings.pop("max_minutes", None)  # another budget was given
        if is_first_process():
            print(why, file=sys.stderr)
        base = Config().with_settings(**settings)
    else:
        base = Config().with_settings(**preset_settings(options.preset, given.loss.method))
    if given.networks.init_from is not None:
        base = base.with_settings(**_networks_of(given.networks.init_from))
    again = parse(Train, "cyclegan train", arguments, Train(options.preset, options.config, base))
    flags = {word.split("=")[0].removeprefix("--").replace("-", "_") for word in arguments}
    return validate_method(with_load_size(again.settings, flags))


def _networks_of(path: Path) -> dict[str, Any]:
    """The settings of the networks that a training starts with; flags that say otherwise are refused later."""
    from cyclegan.runs.model import read_model

    settings = read_model(path, generators_only=True).architecture
    if is_first_process():
        print(f"Starting with {path}: its {settings['generator']} networks are taken over.", file=sys.stderr)
    return settings


def resume(arguments: list[str]) -> None:
    """`cyclegan resume RUN`."""
    options = parse(Resume, "cyclegan resume", arguments)
    changed = {name: value for name, value in vars(options).items() if name != "run" and value is not None}

    from cyclegan.cli.progress import TerminalDisplay, hush
    from cyclegan.training import trainer

    hush()
    _finish(trainer.resume(options.run, monitors=[TerminalDisplay()], **changed))


def _finish(run: Path) -> None:
    """After a training: the report, and what one does next."""
    if not is_first_process():
        return
    print_report(run)
    print(f"Translate with: cyclegan translate {run} INPUT -o OUT")
