"""The command line app: commands register here, and errors in a command line become one sentence."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import tyro
from tyro import _errors as parse_errors
from tyro.extras import SubcommandApp

from cyclegan.cli.reference_options import reference_options
from cyclegan.cli.settings import OPTIONS as SETTINGS
from cyclegan.errors import UsageError, suggestion

Command = Callable[..., None]

COMMANDS: dict[str, Command] = {}  # "data get" -> function
GROUPS = {  # the overview of `cyclegan help`
    "Data": ("data list", "data get", "data prepare", "data check"),
    "Training": ("train", "resume", "distill", "watch"),
    "Results": ("app", "translate", "evaluate", "compare", "diagnose", "report"),
    "Sharing": ("serve", "models list", "models get", "export", "publish", "import-weights", "export-weights"),
    "System": ("env", "completion"),
}
FAMILIES = ("data", "models")  # first words of commands that have two
KINDS = {
    "INT": "an integer",
    "FLOAT": "a number",
    "INT|{auto}": "an integer or auto",
    "[INT [INT ...]]": "integers, separated by spaces",
}  # by how the usage shows the value of an option
MARKERS = (
    tyro.conf.OmitArgPrefixes,
    tyro.conf.OmitSubcommandPrefixes,
    tyro.conf.DisallowNone,
    tyro.conf.HelptextFromCommentsOff,
    tyro.conf.PositionalMetavarFromFieldName,
)


def command(name: str) -> Callable[[Command], Command]:
    """Register a function as `cyclegan NAME`: its signature is the options, its docstring the help."""

    def register(function: Command) -> Command:
        COMMANDS[name] = function
        return function

    return register


def parse_and_call(arguments: list[str]) -> None:
    """Parse a command line without the program's name, and run its command. Raises `UsageError`."""
    name = next((" ".join(arguments[:n]) for n in (2, 1) if " ".join(arguments[:n]) in COMMANDS), None)
    if name is None:
        given = " ".join(arguments[: 2 if arguments[0] in FAMILIES else 1])
        close = "; did you mean translate?" if given in ("test", "test.py") else suggestion(given, COMMANDS)
        raise UsageError(f"Unknown command {given!r}{close} `cyclegan help` lists all.")
    words = arguments[len(name.split()) :]
    # Only this command's parser is built: with all of them in one `SubcommandApp`, help takes 0.1 s more.
    with parse_errors.on_parse_error(lambda event: _explain(event, name, words)):
        tyro.cli(COMMANDS[name], prog=f"cyclegan {name}", args=words, config=MARKERS)


def print_completion(shell: str) -> None:
    """Print the completion script of the whole command line."""
    app = SubcommandApp()
    families = {name: SubcommandApp() for name in FAMILIES}
    for name, family in families.items():
        app.command(family, name=name)
    for name, function in COMMANDS.items():
        families.get(name.split()[0], app).command(name=name.split()[-1])(function)
    app.cli(prog="cyclegan", args=["--tyro-print-completion", shell], config=MARKERS)


def _explain(event: parse_errors.ParseErrorEvent, name: str, words: list[str]) -> None:
    """Raise one sentence for a command line that cannot be parsed; unknown kinds of event are left to tyro."""
    if theirs := reference_options(name, words):
        raise UsageError(theirs)
    help_hint = f"see `cyclegan {name} --help`"
    argument: Any = getattr(event, "argument", None)
    flag = "" if argument is None else argument.lowered.name_or_flags[-1].removeprefix("options.")
    tokens = getattr(event, "tokens", None) or getattr(event, "unrecognized_tokens", None) or []
    if tokens:
        token = next((token for token in tokens if token.startswith("-")), tokens[0]).split("=")[0]
        if not token.startswith("-"):
            two_folders = "two folders are --a and --b; " if "--a" in option_names(COMMANDS[name]) else ""
            raise UsageError(f"Unexpected argument {token!r}; {two_folders}{help_hint}.")
        names = [*option_names(COMMANDS[name])]  # with settings that only training has
        close = "; `cyclegan train` has it." if token in names else suggestion(token.replace("_", "-"), names)
        raise UsageError(f"`cyclegan {name}` has no option {token}{close}")
    if isinstance(event, parse_errors.MissingArgs):
        missing = [
            each.arg.get_invocation_text()[1].as_str_no_ansi().split(", ")[0] for each in event.missing_arguments
        ]
        raise UsageError(f"`cyclegan {name}` needs {' and '.join(missing)}; {help_hint}.")
    if isinstance(event, parse_errors.InvalidChoice):
        close = suggestion(event.value, event.choices)
        raise UsageError(f"{flag} is {event.value!r}; it must be one of {', '.join(event.choices)}{close}")
    if isinstance(event, parse_errors.BadValue):
        needs = f"{flag} needs a value" if flag.startswith("-") else f"`cyclegan {name}` needs {flag.upper()}"
        raise UsageError(f"{needs}; {help_hint}.")
    if isinstance(event, parse_errors.InstantiationFailure) and argument is not None:
        kind = KINDS.get(argument.lowered.metavar, argument.lowered.metavar)
        value = event.message.rpartition(": ")[2].partition("] does not match")[0].strip("[]")
        raise UsageError(f"{flag} must be {kind}, not {value}.")


def require_run(folder: Path) -> None:
    """Raise `UsageError` unless this is a run folder, before torch is imported to read it."""
    from cyclegan.runs.folder import read_run

    read_run(folder)


def require_model(source: str | Path) -> None:
    """Raise `UsageError` unless this is a run, checkpoint, model or export, before torch is imported to read it."""
    from cyclegan.runs.folder import identify
    from cyclegan.runs.hub import PREFIX

    if not str(source).startswith(PREFIX):
        identify(Path(source))


def parameters(function: Command) -> dict[str, str | None]:
    """The parameters of a command: how the usage shows each positional one, None for options."""
    hints = get_type_hints(function, include_extras=True)
    if "options" in hints:
        hints = get_type_hints(hints["options"].__origin__, include_extras=True)
    metadata = {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items() if name != "return"}
    return {
        name: next((m.metavar for m in values if getattr(m, "metavar", None)), name.upper())
        if tyro.conf.Positional in values
        else None
        for name, values in metadata.items()
    }


def option_names(function: Command) -> Iterator[str]:
    """The options of a command, as --names."""
    for name, positional in parameters(function).items():
        names = SETTINGS if name == "settings" else () if positional else (name,)
        yield from (f"--{each.replace('_', '-')}" for each in names)


def is_first_process() -> bool:
    """Whether this process prints for all, as far as is known before they have met."""
    for name in ("RANK", "SLURM_PROCID"):
        if name in os.environ:
            return os.environ[name] == "0"
    return os.environ.get("NODE_RANK", "0") == os.environ.get("LOCAL_RANK", "0") == "0"


def process_numbers() -> tuple[int, int, int]:
    """The numbers of this process among all and on its machine, and of all, as torchrun or srun set them: (0, 0, 1)."""
    # Not SLURM_NTASKS, which a batch script has as well, although it runs once.
    for names in (("RANK", "LOCAL_RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS")):
        if all(name in os.environ for name in names):
            rank, local_rank, processes = (int(os.environ[name]) for name in names)
            return rank, local_rank, processes
    return 0, 0, 1
