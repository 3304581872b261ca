"""`cyclegan report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from typing_extensions import Doc

from cyclegan.commands.options import parse


@dataclass
class Report:
    """Write a run's report.html anew."""

    run: Annotated[Path, tyro.conf.Positional, Doc("The run folder.")]


def report(arguments: list[str]) -> None:
    """`cyclegan report RUN`."""
    tell_report(parse(Report, "cyclegan report", arguments).run)


def tell_report(run: Path) -> None:
    """Write a run's report, and print what it says."""
    from cyclegan.evaluation.report import write_report

    written = write_report(run)
    for sentence in written.sentences:
        print(sentence)
    print(f"Report: {written.path}")
