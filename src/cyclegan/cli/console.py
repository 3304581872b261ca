"""What commands print to stdout: tables and text that are wrapped on a terminal only, and JSON."""

from typing import Any

from rich.console import Console

PIPE_WIDTH = 1000  # columns: in pipes and files, nothing is wrapped


def output_console() -> Console:
    """A console as wide as the terminal, or without a limit where stdout is a pipe or a file."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def print_json(content: Any) -> None:
    """Print plain data as JSON, also where stdout cannot encode all characters."""
    from cyclegan.system.text import to_json

    print(to_json(content))
