"""The commands: each parses, calls, prints. What is imported inside a command keeps the help quick."""

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Optional, TypeVar

import tyro
from typing_extensions import Doc

from cyclegan.config import Config, Direction, MethodName, PreprocessPolicy, from_toml, validated
from cyclegan.errors import CycleGANError, UsageError, in_one_sentence
from cyclegan.presets import PresetName, preset_settings, with_load_size

Options = TypeVar("Options")

HELP = """\
usage: cyclegan COMMAND ...

Turn images of one kind into images of another, learned from two folders without pairs.

commands:
  data get NAME         write a data set; 'seasons' is built in
  data check DATA       look for what would spoil a training, and what it will do
  train DATA            learn from two folders of images
  resume RUN            go on with a training that was stopped
  translate RUN INPUT   translate images and folders with a trained run
  report RUN            write the run's report.html anew
  import-weights FILES  make a model of .pth files of the authors' PyTorch code
  export-weights RUN    write .pth files that the authors' PyTorch code loads

A first try:
  cyclegan data get seasons
  cyclegan train data/seasons --max-minutes 5
  cyclegan translate runs/seasons data/seasons/testA -o winter

`cyclegan COMMAND --help` tells more. `cyclegan --version` tells the version.
"""


@dataclass
class DataGet:
    """Write a data set into a folder."""

    name: Annotated[Literal["seasons"], tyro.conf.Positional, Doc("Name of the data set.")]
    to: Annotated[Optional[Path], Doc("Folder to make; data/NAME if not given.")] = None
    size: Annotated[int, Doc("Width and height of the images, pixels.")] = 64
    train: Annotated[int, Doc("Training images of each domain.")] = 400
    test: Annotated[int, Doc("Test images of each domain; these are pairs.")] = 32
    paired: Annotated[bool, Doc("Training images are pairs too, for pix2pix; the folder is data/NAME-paired.")] = False


@dataclass
class DataCheck:
    """Look at every image of a data set: what would spoil a training, and what a training will do with it.

    Exit code 1 when training would fail or be meaningless, else 0, whatever warnings there are.
    """

    data: Annotated[Optional[Path], tyro.conf.Positional, Doc("The data, as for `cyclegan train`.")] = None
    a: Annotated[Optional[Path], Doc("Folder of domain A, instead of DATA; goes with --b.")] = None
    b: Annotated[Optional[Path], Doc("Folder of domain B, instead of DATA; goes with --a.")] = None
    method: Annotated[MethodName, Doc("What will be trained.")] = "cyclegan"
    preset: Annotated[PresetName, Doc("The preset it will be trained with.")] = "auto"
    preprocess: Annotated[Optional[PreprocessPolicy], Doc("How an image will be brought to size.")] = None
    load_size: Annotated[Optional[int], Doc("Size after resizing, pixels.")] = None
    crop_size: Annotated[Optional[int], Doc("Size of the random crop that will be trained on, pixels.")] = None
    sheet: Annotated[Optional[Path], Doc("Where to write the contact sheet; NAME-check.png if not given.")] = None
    json: Annotated[bool, Doc("Print JSON, with every file that is meant; no sheet unless --sheet is given.")] = False
    workers: Annotated[Optional[int], Doc("Processes that look at images; as many as processors if not given.")] = None


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
    workers: Annotated[Optional[int], Doc("Loader processes.")] = None
    accelerator: Annotated[Optional[str], Doc("auto, cpu, cuda, mps, ...")] = None
    devices: Annotated[Optional[int], Doc("Processes (GPUs) on this machine.")] = None


@dataclass
class Translate:
    """Translate images with a trained run."""

    run: Annotated[Path, tyro.conf.Positional, Doc("A run folder, a checkpoint folder or a model folder.")]
    input: Annotated[tuple[Path, ...], tyro.conf.Positional, Doc("Images, folders (their tree is kept) and patterns.")]
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"]), Doc("Folder for the results, or a file for one image.")]
    direction: Annotated[Optional[Direction], Doc("Which way; AtoB, or the only one learned, if not given.")] = None
    size: Annotated[str, Doc("'keep' for the input's size, or pixels of the shorter side.")] = "keep"
    side_by_side: Annotated[bool, Doc("Write before and after in one picture.")] = False
    overwrite: Annotated[bool, Doc("Replace results that exist.")] = False
    device: Annotated[str, Doc("auto, cpu, cuda, mps, ...")] = "auto"


@dataclass
class Report:
    """Write a run's report.html anew."""

    run: Annotated[Path, tyro.conf.Positional, Doc("The run folder.")]


@dataclass
class ImportWeights:
    """Make a model of the weights of the authors' PyTorch repositories (CycleGAN, pix2pix, CUT)."""

    files: Annotated[
        Path, tyro.conf.Positional, Doc("One generator's .pth file, or a folder checkpoints/NAME of theirs.")
    ]
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"]), Doc("Model folder to make.")]
    epoch: Annotated[str, Doc("Which EPOCH_net_….pth of a folder.")] = "latest"
    overwrite: Annotated[bool, Doc("Replace a model that exists.")] = False


@dataclass
class ExportWeights:
    """Write a run's or model's weights as .pth files of the authors' PyTorch repositories."""

    run: Annotated[Path, tyro.conf.Positional, Doc("A run folder, a checkpoint folder or a model folder.")]
    out: Annotated[
        Path, tyro.conf.arg(aliases=["-o"]), Doc("Folder for the files, checkpoints/NAME for their scripts.")
    ]
    epoch: Annotated[str, Doc("What the files' names begin with.")] = "latest"
    overwrite: Annotated[bool, Doc("Replace files that exist.")] = False


def data(arguments: list[str]) -> None:
    """`cyclegan data get NAME` and `cyclegan data check DATA`."""
    if arguments[:1] == ["check"]:
        data_check(arguments[1:])
        return
    if arguments[:1] != ["get"]:
        if arguments and arguments[0] in ("-h", "--help"):
            print("usage: cyclegan data get NAME [OPTIONS]\n       cyclegan data check DATA [OPTIONS]")
            return
        raise UsageError(
            "The commands are `cyclegan data get NAME` ('seasons' is built in) and `cyclegan data check DATA`."
        )
    options = parse(DataGet, "cyclegan data get", arguments[1:])
    from cyclegan.data import seasons

    to = options.to or Path("data") / (options.name + ("-paired" if options.paired else ""))
    seasons.write(to, size=options.size, train=options.train, test=options.test, paired=options.paired)
    count = options.train
    scenes = f"{count} scenes in summer and winter" if options.paired else f"{count} summers, {count} winters"
    print(f"{to}: {scenes}, and {options.test} test scenes in both.")


def data_check(arguments: list[str]) -> None:
    """`cyclegan data check DATA`."""
    options = parse(DataCheck, "cyclegan data check", arguments)
    config, words = _planned(options)

    from cyclegan.data.checking.check import check_data
    from cyclegan.data.checking.sheet import contact_sheet
    from cyclegan.data.checking.terminal import show_check, watch_looks
    from cyclegan.data.images import write_image
    from cyclegan.training.data import find_data

    check = check_data(config, find_data(config), words, workers=options.workers, watch=watch_looks)
    if options.json:
        print(json.dumps(check.plain(), indent=2))
    else:
        show_check(check)
    name = "2".join(path.resolve().name for path in (options.data, options.a, options.b) if path is not None)
    sheet = options.sheet or (None if options.json else Path(f"{name}-check.png"))
    if sheet is not None:
        try:
            write_image(contact_sheet(check.parts), sheet)
            print(f"Contact sheet: {sheet}", file=sys.stderr if options.json else sys.stdout)
        except CycleGANError as error:
            if options.sheet is not None:
                raise
            print(error, file=sys.stderr)  # nobody asked for it: the verdict stands
    if check.level == "error":
        raise SystemExit(1)


def _planned(options: DataCheck) -> tuple[Config, list[str]]:
    """The training that is planned for the data, and the words behind `cyclegan train` for it."""
    own = ("data", "a", "b", "preprocess", "load_size", "crop_size")
    given = {name: value for name in own if (value := getattr(options, name)) is not None}
    settings = preset_settings("paper" if options.preset == "auto" else options.preset, options.method)
    if options.preset == "auto":
        from cyclegan.surroundings import look_around

        with suppress(UsageError):  # none of the images can be read, which is for the check to say
            settings, _ = look_around(Config().with_settings(method=options.method, **given))
    words = [str(given["data"])] if "data" in given else []
    defaults = vars(DataCheck())
    for name in ("a", "b", "method", "preset", "preprocess", "load_size", "crop_size"):
        if (value := getattr(options, name)) != defaults[name]:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return validated(with_load_size(Config().with_settings(**(settings | given)), given)), words


def train(arguments: list[str]) -> None:
    """`cyclegan train DATA`."""
    options = parse(Train, "cyclegan train", arguments)
    config = _configuration(options, arguments)

    from cyclegan.data.checking.check import fast_check
    from cyclegan.terminal import TerminalDisplay, hush
    from cyclegan.training import trainer
    from cyclegan.training.data import find_data

    if _is_first_process():
        for line in fast_check(config, find_data(config)):
            print(line, file=sys.stderr)
    hush()
    _finish(trainer.train(config, watch=[TerminalDisplay()]))


def _configuration(options: Train, arguments: list[str]) -> Config:
    """The preset or file with the user's own settings over it: a second parse of the same words."""
    given = options.settings
    if options.config is not None:
        if any(word.split("=")[0] == "--preset" for word in arguments):
            raise UsageError("Give either --preset or --config, not both.")
        base = from_toml(options.config).with_settings(name=None)  # the run of that name exists
    elif options.preset == "auto":
        from cyclegan.surroundings import look_around

        settings, why = look_around(given)
        if given.run.max_steps is not None or (given.optimiser.epochs, given.optimiser.epochs_decay) != (100, 100):
            settings.pop("max_minutes", None)  # another budget was given
        if _is_first_process():
            print(why, file=sys.stderr)
        base = Config().with_settings(**settings)
    else:
        base = Config().with_settings(**preset_settings(options.preset, given.loss.method))
    if given.networks.init_from is not None:
        base = base.with_settings(**_networks_of(given.networks.init_from))
    again = parse(Train, "cyclegan train", arguments, Train(options.preset, options.config, base))
    flags = {word.split("=")[0].removeprefix("--").replace("-", "_") for word in arguments}
    return validated(with_load_size(again.settings, flags))


def _networks_of(path: Path) -> dict[str, Any]:
    """The settings of the networks that a training starts with; flags that say otherwise are refused later."""
    from cyclegan.training.start import architecture

    settings = architecture(path)
    if _is_first_process():
        print(f"Starting with {path}: its {settings['generator']} networks are taken over.", file=sys.stderr)
    return settings


def resume(arguments: list[str]) -> None:
    """`cyclegan resume RUN`."""
    options = parse(Resume, "cyclegan resume", arguments)
    changed = {name: value for name, value in vars(options).items() if name != "run" and value is not None}

    from cyclegan.terminal import TerminalDisplay, hush
    from cyclegan.training import trainer

    hush()
    _finish(trainer.resume(options.run, watch=[TerminalDisplay()], **changed))


def _finish(run: Path) -> None:
    """After a training: the report, and what one does next."""
    if not _is_first_process():
        return
    _report(run)
    print(f"Translate with: cyclegan translate {run} INPUT -o OUT")


def _report(run: Path) -> None:
    from cyclegan.evaluation.report import write_report

    written = write_report(run)
    for sentence in written.sentences:
        print(sentence)
    print(f"Report: {written.path}")


def translate(arguments: list[str]) -> None:
    """`cyclegan translate RUN INPUT -o OUT`."""
    options = parse(Translate, "cyclegan translate", arguments)
    size = _size(options.size)

    from rich.progress import track

    from cyclegan.translation import files
    from cyclegan.translation.translator import Translator

    jobs = files.plan(options.input, options.out, overwrite=options.overwrite)
    translator = Translator.load(options.run, options.direction, options.device)
    results = files.run(translator, jobs, size=size, side_by_side=options.side_by_side)
    failed = 0
    for done in track(results, "Translating", total=len(jobs), disable=not sys.stderr.isatty()):
        if done.problem:
            failed += 1
            print(done.problem, file=sys.stderr)
    print(f"{len(jobs) - failed} of {len(jobs)} images translated to {options.out}")
    if failed:
        raise SystemExit(1)


def _size(text: str) -> int | Literal["keep"]:
    if text == "keep":
        return "keep"
    if text.isdigit() and int(text) > 0:
        return int(text)
    raise UsageError(f"--size is {text!r}; it must be 'keep' or a number of pixels.")


def report(arguments: list[str]) -> None:
    """`cyclegan report RUN`."""
    _report(parse(Report, "cyclegan report", arguments).run)


def import_weights(arguments: list[str]) -> None:
    """`cyclegan import-weights FILES -o MODEL`."""
    options = parse(ImportWeights, "cyclegan import-weights", arguments)

    from cyclegan.translation.model_folder import write_model
    from cyclegan.translation.reference_files import import_model

    model, sentences = import_model(options.files, options.epoch)
    write_model(model, options.out, overwrite=options.overwrite)
    for sentence in sentences:
        print(sentence)
    print(f"{options.out}: a model of the method {model.method}, {' and '.join(model.directions)}")
    print(f"Translate with: cyclegan translate {options.out} INPUT -o OUT --direction {model.directions[0]}")


def export_weights(arguments: list[str]) -> None:
    """`cyclegan export-weights RUN -o DIR`."""
    options = parse(ExportWeights, "cyclegan export-weights", arguments)

    from cyclegan.translation.model_folder import read_model
    from cyclegan.translation.reference_files import export_model, write_files

    export = export_model(read_model(options.run), options.epoch)
    write_files(export.files, options.out, overwrite=options.overwrite)
    print(f"{options.out}: {', '.join(export.files)}")
    place = (
        f"--checkpoints_dir {options.out.resolve().parent} --name {options.out.resolve().name} --epoch {options.epoch}"
    )
    print(f"Test there with: python test.py --dataroot DATA {place} {' '.join(export.options)}")


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "data": data,
    "train": train,
    "resume": resume,
    "translate": translate,
    "report": report,
    "import-weights": import_weights,
    "export-weights": export_weights,
}


def parse(options: type[Options], prog: str, arguments: list[str], default: Options | None = None) -> Options:
    """Read a command's words by tyro, which ends with exit code 2 and a box when they make no sense."""
    marks = (tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone, tyro.conf.HelptextFromCommentsOff)
    if default is None:
        return tyro.cli(options, prog=prog, args=arguments, config=marks)
    return tyro.cli(options, prog=prog, args=arguments, config=marks, default=default)


def main() -> NoReturn:
    """The console script. Exit code 0, 1 for failed work, 2 for wrong usage, 128 + signal when interrupted."""
    # Threads that wait by spinning for long make two trainings on one machine stand still. Read by torch's import.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help", "help"):
        print(HELP, end="")
        raise SystemExit(0)
    if command == "--version":
        from cyclegan import __version__

        print(f"cyclegan {__version__}")
        raise SystemExit(0)
    try:
        if command not in COMMANDS:
            raise UsageError(f"There is no command {command!r}; there are {', '.join(COMMANDS)}.")
        COMMANDS[command](arguments)
    except CycleGANError as error:
        raise SystemExit(_said(error)) from None
    except OSError as error:  # what no room expected, such as a folder that may not be read
        print(f"cyclegan: {in_one_sentence(error)}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("cyclegan: stopped.", file=sys.stderr)
        raise SystemExit(130) from None
    raise SystemExit(0)


def _said(error: CycleGANError) -> int:
    """Print an error by the process whose business it is, and return the exit code of this one."""
    first = _is_first_process()
    if first or error.alone:
        print(f"cyclegan: {error}", file=sys.stderr)
    # A process that ends badly is taken for dead, and the first might be killed before it has spoken.
    return error.exit_code if first or not error.shared else 0


def _is_first_process() -> bool:
    """Whether this process speaks for all, as far as can be known before they have met."""
    for name in ("RANK", "SLURM_PROCID"):
        if name in os.environ:
            return os.environ[name] == "0"
    return os.environ.get("NODE_RANK", "0") == os.environ.get("LOCAL_RANK", "0") == "0"
