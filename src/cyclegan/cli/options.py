"""What all commands share: reading their words, and knowing who speaks."""

import os
from importlib import import_module
from typing import TypeVar

import tyro

Options = TypeVar("Options")


def parse(options: type[Options], prog: str, arguments: list[str], default: Options | None = None) -> Options:
    """Read a command's words by tyro, which ends with exit code 2 and a box when they make no sense."""
    marks = (tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone, tyro.conf.HelptextFromCommentsOff)
    if default is None:
        return tyro.cli(options, prog=prog, args=arguments, config=marks)
    return tyro.cli(options, prog=prog, args=arguments, config=marks, default=default)


def call(place: str, arguments: list[str]) -> None:
    """Call a command by its place, ``module:function`` in this package; only its own module is imported."""
    module, function = place.split(":")
    getattr(import_module(f"cyclegan.cli.{module}"), function)(arguments)


def is_first_process() -> bool:
    """Whether this process speaks for all, as far as can be known before they have met."""
    for name in ("RANK", "SLURM_PROCID"):
        if name in os.environ:
            return os.environ[name] == "0"
    return os.environ.get("NODE_RANK", "0") == os.environ.get("LOCAL_RANK", "0") == "0"
