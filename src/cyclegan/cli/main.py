"""The command line: which commands there are, and how a command ends. They are in `cyclegan.cli`."""

import os
import sys
from typing import NoReturn

from cyclegan.cli.options import call, is_first_process
from cyclegan.errors import CycleGANError, UsageError, describe_os_error

HELP = """\
usage: cyclegan COMMAND ...

Turn images of one kind into images of another, learned from two folders without pairs.

commands:
  data list             show the data sets that can be had by name
  data get NAME         write a data set; 'seasons' is built in
  data prepare SOURCE   make images ready once: split, resize, cut, join, halve, frames of video
  data check DATA       look for what would spoil a training, and what it will do
  train DATA            learn from two folders of images
  resume RUN            go on with a training that was stopped
  translate RUN INPUT   translate images and folders with a trained run
  evaluate RUN          measure the quality of a run's translations
  compare RUN RUN ...   measure runs side by side on the same images
  diagnose RUN          look for what goes wrong in a training, and say what to do
  report RUN            write the run's report.html anew
  publish RUN NAME      upload a model to the Hugging Face hub
  export RUN            write a generator for ONNX Runtime, OpenVINO, torch.export or browsers
  import-weights FILES  make a model of .pth files of the authors' PyTorch code
  export-weights RUN    write .pth files that the authors' PyTorch code loads

A first try:
  cyclegan data get seasons
  cyclegan train data/seasons --max-minutes 5
  cyclegan translate runs/seasons data/seasons/testA -o winter

`cyclegan COMMAND --help` tells more. `cyclegan --version` tells the version.
"""

COMMANDS = {  # where each is, as module:function of `cyclegan.cli`
    "data": "data:run",
    "train": "train:train",
    "resume": "train:resume",
    "translate": "translate:translate",
    "evaluate": "evaluate:evaluate",
    "compare": "evaluate:compare",
    "diagnose": "evaluate:diagnose",
    "report": "evaluate:report",
    "publish": "models:publish",
    "export": "export:export",
    "import-weights": "models:import_weights",
    "export-weights": "models:export_weights",
}


def main() -> NoReturn:
    """The console script. Exit code 0, 1 for failed work, 2 for wrong usage, 128 + signal when interrupted."""
    # Threads that wait by spinning for long make two trainings on one machine stand still. Read by torch's import.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    command, *arguments = sys.argv[1:] or ["--help"]
    if command in ("-h", "--help", "help"):
        print(HELP, end="")
        raise SystemExit(0)
    if command == "--version":
        from cyclegan._version import __version__

        print(f"cyclegan {__version__}")
        raise SystemExit(0)
    try:
        if command not in COMMANDS:
            raise UsageError(f"There is no command {command!r}; there are {', '.join(COMMANDS)}.")
        call(COMMANDS[command], arguments)
    except CycleGANError as error:
        raise SystemExit(_said(error)) from None
    except OSError as error:  # what no room expected, such as a folder that may not be read
        print(f"cyclegan: {describe_os_error(error)}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("cyclegan: stopped.", file=sys.stderr)
        raise SystemExit(130) from None
    raise SystemExit(0)


def _said(error: CycleGANError) -> int:
    """Print an error by the process whose business it is, and return the exit code of this one."""
    first = is_first_process()
    if first or error.alone:
        print(f"cyclegan: {error}", file=sys.stderr)
    # A process that ends badly is taken for dead, and the first might be killed before it has spoken.
    return error.exit_code if first or not error.shared else 0
