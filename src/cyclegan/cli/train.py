"""`cyclegan train` and `cyclegan resume`."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command, is_first_process
from cyclegan.cli.report import print_report
from cyclegan.cli.settings import OptionalPath, OptionalText, Switch, settings
from cyclegan.config.presets import PHOTOGRAPHS, PresetName
from cyclegan.config.schema import Config
from cyclegan.errors import CycleGANError, UsageError

RESUMABLE = (
    *("a", "b", "pairs", "max_steps", "max_minutes", "epochs", "epochs_decay"),
    *("patience", "workers", "device", "devices"),
)
Settings = Annotated[dict[str, Any], tyro.conf.arg(name="", constructor_factory=settings())]
NewSettings = Annotated[
    dict[str, Any],
    tyro.conf.arg(name="", constructor_factory=settings(RESUMABLE, {"training": RESUMABLE}, "(default: the run's)")),
]


@command("train")
def train(
    data: Annotated[
        OptionalPath,
        tyro.conf.Positional,
        Doc("Folder with trainA and trainB, optionally testA and testB; or with pairs, A and B side by side."),
    ] = None,
    *,
    preset: Annotated[
        PresetName,
        Doc("auto: suits the images and the GPU or CPU; paper: the authors' settings; small: 128x128; fast: light."),
    ] = "auto",
    config: Annotated[OptionalPath, Doc("Take all settings from this config.toml instead of a preset.")] = None,
    dry_run: Annotated[Switch, Doc("Print the settings and a forecast of time and memory; train nothing.")] = False,
    settings: Settings,
) -> None:
    """Train a model on two folders of images, without pairs.

    The run folder gets checkpoints, samples, loss curves and a report.

    Run `cyclegan train --help-all` to see all settings.

    Sources: [C] CycleGAN's paper, [P] pix2pix's, [CUT] CUT's, [DCL] DCLGAN's,
    [ADA] ADA's, [R] the authors' PyTorch repository.

    For example
      cyclegan train data/horse2zebra
      cyclegan train data/horse2zebra --max-minutes 60 --name zebras
      cyclegan train --a photos --b paintings --preset paper
      cyclegan train data/edges2shoes --method pix2pix --dry-run
    """
    from cyclegan.training.setup import configure

    if config is not None and preset != "auto":
        raise UsageError("Give either --preset or --config, not both.")
    if data is not None:
        settings["data"] = data
    resolved = configure(preset, config_file=config, **settings)
    if dry_run:
        from cyclegan.cli.dry_run import print_forecast

        print_forecast(resolved)
        return

    from rich.console import Console

    from cyclegan.cli.dry_run import announce_duration
    from cyclegan.data.check.check import fast_check
    from cyclegan.data.select import find_training_data
    from cyclegan.training import trainer

    if is_first_process():
        console = Console(stderr=True)
        show = partial(console.print, soft_wrap=not console.is_terminal, highlight=False, markup=False)
        files = find_training_data(resolved)
        for line in [*_choices(resolved), *fast_check(resolved, files), *_export_notes(resolved)]:
            show(line)
        announce_duration(resolved, show)
    _finish(lambda: trainer.train(resolved))


def _choices(config: Config) -> list[str]:
    """What was chosen for the user, a sentence each."""
    notes = []
    source = config.sources["crop_size"]
    size, generator, start = config.data.crop_size, config.networks.generator, config.networks.init_from
    if start is not None:
        notes.append(f"Starting from {start}, with its {generator} networks.")
    if source.startswith("preset auto"):
        minutes = f", for {config.run.max_minutes:g} minutes" if config.run.max_minutes else ""
        if config.sources["max_minutes"] != "user" and minutes:
            minutes += " unless you set a budget (--max-minutes)"
        notes.append(f"Settings from {source}: {generator} at {size}x{size}{minutes}; --dry-run shows all.")
        rgb = {config.data.channels_a, config.data.channels_b} <= {1, 3}
        if rgb and size >= PHOTOGRAPHS and config.networks.discriminator == "dual":
            notes.append('Photographs are learned in fewer steps after: pip install "cyclegan[features]".')
    return notes


def _export_notes(config: Config) -> list[str]:
    """A sentence if the authors' code cannot load what will be trained."""
    from cyclegan.runs.reference_files import export_obstacle

    obstacle = export_obstacle(config)
    return [f"`cyclegan export-weights` will not work for this run. {obstacle}"] if obstacle else []


@command("resume")
def resume(
    run: Annotated[Path, tyro.conf.Positional, Doc("Run folder.")],
    *,
    checkpoint: Annotated[OptionalText, Doc("Continue from this checkpoint instead of the last.")] = None,
    data: Annotated[OptionalPath, Doc("Folder of the data, if it has moved.")] = None,
    settings: NewSettings,
) -> None:
    """Continue a run from its last checkpoint.

    The result is bit for bit that of a run that was never stopped.

    Settings replace the run's own, and budgets count from its beginning.

    Sources: [C] CycleGAN's paper.
    """
    if data is not None:
        settings["data"] = data

    from cyclegan.training import trainer

    _finish(lambda: trainer.resume(run, checkpoint=checkpoint, **settings))


def _finish(train: Callable[[], Path]) -> None:
    """Train, and write the report; after a stop signal only what takes a second or two."""
    from cyclegan.training.trainer import Interrupted

    try:
        run = train()
    except Interrupted as stopped:
        if is_first_process():
            from cyclegan.evaluation.report.report import write_report

            with suppress(CycleGANError):
                print(f"Report: {write_report(stopped.run, live=True).path}")
        raise
    if is_first_process():
        print_report(run)
        print(f"Translate with: cyclegan translate {run} INPUT -o OUTPUT")
