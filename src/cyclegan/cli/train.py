"""`cyclegan train` and `cyclegan resume`."""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command, is_first_process, require_model, require_run
from cyclegan.cli.report import print_report
from cyclegan.cli.settings import OPTIONS, OptionalPath, OptionalText, Switch, settings
from cyclegan.config.presets import PHOTOGRAPHS, PresetName
from cyclegan.config.schema import Config
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.system.text import quote

RESUMABLE = (
    *("a", "b", "pairs", "max_steps", "max_minutes", "epochs", "epochs_decay"),
    *("patience", "workers", "device", "devices"),
)
Settings = Annotated[dict[str, Any], tyro.conf.arg(name="", constructor_factory=settings())]
STUDENT = {"model": ("direction",), "length": ("max_minutes", "max_steps", "epochs"), "run": ("name", "device")}
OF_STUDENTS = [name for name in OPTIONS if name not in ("method", "init_from") and not name.startswith("teacher_")]
StudentSettings = Annotated[
    dict[str, Any],
    tyro.conf.arg(name="", constructor_factory=settings(OF_STUDENTS, STUDENT, "")),
]
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
    config: Annotated[OptionalPath, Doc("Take all settings from this config.toml or run instead of a preset.")] = None,
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
    if config is not None and preset != "auto":
        raise UsageError("Give either --preset or --config, not both.")

    from cyclegan.training.setup import configure

    if data is not None:
        settings["data"] = data
    resolved = configure(preset, config_file=config, **settings)
    if dry_run:
        from cyclegan.cli.dry_run import print_forecast

        print_forecast(resolved)
        return

    _train(resolved)


def _train(config: Config) -> None:
    """Train, after saying what was chosen and what the data looks like."""
    from cyclegan.data.select import find_training_data

    files = find_training_data(config)  # its errors need no torch

    from rich.console import Console

    from cyclegan.cli.dry_run import announce_length
    from cyclegan.data.check.check import fast_check
    from cyclegan.training import trainer

    if is_first_process():
        console = Console(stderr=True)
        show = partial(console.print, soft_wrap=not console.is_terminal, highlight=False, markup=False)
        for line in [*_choices(config), *fast_check(config, files), *_export_notes(config)]:
            show(line)
        announce_length(config, files, show)
    _finish(lambda: trainer.train(config, files=files))


def _choices(config: Config) -> list[str]:
    """What was chosen for the user, a sentence each."""
    from cyclegan.methods.registry import method_spec

    notes = []
    source = config.sources["crop_size"]
    size, generator, start = config.data.crop_size, config.networks.generator, config.networks.init_from
    if start is not None and method_spec(config.loss.method).learns_from_teacher:
        notes.append(f"Distilling {start}, {config.loss.direction}, into {generator} at {size}x{size}.")
    elif start is not None:
        notes.append(f"Starting from {start}, with its {generator} networks.")
    if source.startswith("preset auto"):
        notes.append(f"Settings from {source}: {generator} at {size}x{size}; --dry-run shows all.")
        if config.data.is_gray_or_rgb and size >= PHOTOGRAPHS and config.networks.discriminator == "dual":
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

    require_run(run)

    from cyclegan.training import trainer

    _finish(lambda: trainer.resume(run, checkpoint=checkpoint, **settings))


@command("distill")
def distill(
    run: Annotated[Path, tyro.conf.Positional, Doc("Teacher: run folder, checkpoint, model folder, or hf:user/name.")],
    data: Annotated[
        OptionalPath, tyro.conf.Positional, tyro.conf.arg(metavar="[DATA]"), Doc("Data set. Default: the run's.")
    ] = None,
    *,
    student: Annotated[
        Literal["small", "medium", "large"], Doc("Size of the student; --dry-run measures the speed of each.")
    ] = "medium",
    dry_run: Annotated[Switch, Doc("Print the settings and the speed of the students; train nothing.")] = False,
    settings: StudentSettings,
) -> None:
    """Train a small, fast generator on a run's translations.

    The student learns one direction, from the run's own images.

    Its run is evaluated, translated with, exported and resumed like any other.

    Run `cyclegan distill --help-all` to see all settings.

    Sources: [C] CycleGAN's paper, [P] pix2pix's, [CUT] CUT's, [ADA] ADA's,
    [R] the authors' PyTorch repository.

    For example
      cyclegan distill runs/horse2zebra --dry-run
      cyclegan distill runs/horse2zebra --max-minutes 60
      cyclegan distill runs/horse2zebra --direction BtoA --student small
    """
    if data is not None:
        settings["data"] = data

    require_model(run)

    from cyclegan.training.distill import configure_student, measure_speeds

    config = configure_student(run, student=student, **settings)
    if dry_run:
        from cyclegan.cli.dry_run import print_forecast

        print_forecast(config)
    if is_first_process():
        teacher, *students = measure_speeds(config)
        for each in (teacher, *students):
            ratio = "" if each is teacher else f", {teacher.seconds / each.seconds:.1f} times as fast"
            text = f"{each.name}: {each.generator}, {each.parameters:,} parameters"
            print(f"{text}: {each.seconds * 1000:.3g} ms per image{ratio}", file=sys.stdout if dry_run else sys.stderr)
    if not dry_run:
        _train(config)


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
        print(f"Translate with: cyclegan translate {quote(run)} INPUT -o OUTPUT")
