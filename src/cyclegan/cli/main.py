"""The console script: the overview of all commands, and how a command ends."""

import io
import os
import sys
from collections.abc import Iterable
from typing import Annotated, Literal, NoReturn

import tyro
from typing_extensions import Doc

from cyclegan.cli import (  # noqa: F401  (importing a module registers its commands)
    data_check,
    data_get,
    data_prepare,
    env,
    evaluate,
    export,
    models,
    report,
    serve,
    settings,
    train,
    translate,
    watch,
    web_app,
)
from cyclegan.cli.app import (
    COMMANDS,
    FAMILIES,
    GROUPS,
    command,
    is_first_process,
    parameters,
    parse_and_call,
    print_completion,
)
from cyclegan.errors import CycleGANError, describe_os_error, explain_out_of_memory

OVERVIEW = """\
usage: cyclegan COMMAND ...

Turn images of one kind into images of another, learned without pairs.
{}
A first try
  cyclegan data get seasons
  cyclegan train data/seasons --max-minutes 5
  cyclegan translate runs/seasons data/seasons/testA -o winter

`cyclegan help COMMAND` explains a command; `cyclegan --version`."""


@command("completion")
def completion(shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional, Doc("Shell.")]) -> None:
    """Print a completion script for bash, zsh or fish.

    For example
      cyclegan completion bash > ~/.local/share/bash-completion/completions/cyclegan
      cyclegan completion zsh > ~/.zfunc/_cyclegan
      cyclegan completion fish > ~/.config/fish/completions/cyclegan.fish
    """
    print_completion(shell)


def main() -> NoReturn:
    """The console script. Exit code 0, 1 for failed work, 2 for wrong usage, 128 + signal when interrupted."""
    # Threads that spin for long while waiting slow down other runs on the same machine. Read when torch is imported.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # pipes on Windows, for one, cannot encode arrows
            stream.reconfigure(errors="replace")
    try:
        with explain_out_of_memory("close other programs, or use a machine with more"):
            run(sys.argv[1:])
            sys.stdout.flush()
    except CycleGANError as error:
        raise SystemExit(_report_error(error)) from None
    except BrokenPipeError:  # the reader of the output, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at the end
        raise SystemExit(141) from None  # 128 + SIGPIPE
    except OSError as error:  # not expected anywhere else, such as a folder that may not be read
        print(f"cyclegan: {describe_os_error(error)}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("cyclegan: stopped.", file=sys.stderr)
        raise SystemExit(130) from None
    raise SystemExit(0)


def run(arguments: list[str]) -> None:
    """Run a command line, given without the program's name. Raises `CycleGANError` and its subclasses."""
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    settings.page = "parse"
    if "--help-all" in arguments:
        arguments = [word.replace("--help-all", "--help") for word in arguments]
        settings.page = "all"
    elif {"--help", "-h"} & set(arguments):
        settings.page = "common"
    if arguments in ([], ["--help"], ["-h"]):
        print(OVERVIEW.format("".join(_overview(title, names) for title, names in GROUPS.items())))
    elif arguments[0] in FAMILIES and arguments[1:] in ([], ["--help"], ["-h"]):
        family = arguments[0]
        names = [name for group in GROUPS.values() for name in group if name.split()[0] == family]
        print(f"usage: cyclegan {family} COMMAND ...\n{_overview(family.capitalize(), names)}")
        print(f"`cyclegan help {family} COMMAND` explains one.")
    elif arguments == ["--version"]:
        from cyclegan._version import __version__

        print(f"cyclegan {__version__}")
    else:
        parse_and_call(arguments)


def _overview(title: str, names: Iterable[str]) -> str:
    lines = [f"\n{title}"]
    for name in names:
        positional = filter(None, parameters(COMMANDS[name]).values())
        summary = (COMMANDS[name].__doc__ or "").splitlines()[0]
        lines.append(f"  {' '.join([name, *positional]):<23} {summary}")
    return "\n".join(lines) + "\n"


def _report_error(error: CycleGANError) -> int:
    """Print an error in the process that should, and return the exit code of this one."""
    first = is_first_process()
    if first or error.alone:
        print(f"cyclegan: {error}", file=sys.stderr)
    # A process that fails is considered dead, and the first might be killed before it has printed.
    return error.exit_code if first or not error.shared else 0
