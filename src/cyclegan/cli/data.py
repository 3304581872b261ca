"""The commands of `cyclegan data`."""

from cyclegan.cli.options import call
from cyclegan.errors import UsageError

HELP = """\
usage: cyclegan data COMMAND ...

commands:
  list                  show the data sets that are known by name
  get NAME              write a data set into data/NAME
  prepare SOURCE        split, resize, cut, join or halve images; frames of video; edges
  check DATA            look for what would spoil a training, and what it will do

`cyclegan data COMMAND --help` tells more.
"""

COMMANDS = {  # where each is, as module:function of `cyclegan.cli`
    "list": "data_get:list_",
    "get": "data_get:get",
    "prepare": "data_prepare:prepare",
    "check": "data_check:check",
}


def run(arguments: list[str]) -> None:
    """`cyclegan data COMMAND`."""
    command, *rest = arguments or ["--help"]
    if command in ("-h", "--help", "help"):
        print(HELP, end="")
        return
    if command not in COMMANDS:
        raise UsageError(f"There is no command `cyclegan data {command}`; there are {', '.join(COMMANDS)}.")
    call(COMMANDS[command], rest)
