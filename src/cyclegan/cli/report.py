"""`cyclegan diagnose` and `cyclegan report`."""

from pathlib import Path
from typing import Annotated

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command
from cyclegan.cli.settings import Device, OptionalPath

Run = Annotated[Path, tyro.conf.Positional, Doc("Run folder.")]


@command("diagnose")
def diagnose(
    run: Run,
    *,
    data: Annotated[OptionalPath, Doc("Folder of the data, if it has moved.")] = None,
    json: Annotated[OptionalPath, Doc("Write the findings to this file as well.")] = None,
    device: Device = "auto",
) -> None:
    """Look for problems in a run, and how to solve them."""
    from dataclasses import asdict

    from rich.console import Console
    from rich.padding import Padding

    from cyclegan.diagnosis.diagnose import NO_ISSUES
    from cyclegan.diagnosis.diagnose import diagnose as find_issues
    from cyclegan.runs.results import write_json

    diagnosis = find_issues(run, data, device=device)
    console = Console(highlight=False, markup=False)
    console.print(diagnosis.summary)
    for issue in diagnosis.issues:
        console.print(f"\n{issue.name} ({issue.certainty})", style="bold")
        for direction, observation in issue.observations:
            console.print(Padding(f"{direction}: {observation}" if direction else observation, (0, 0, 0, 2)))
        console.print(Padding(f"→ {issue.advice}", (0, 0, 0, 2)))
    if not diagnosis.issues:
        console.print(f"\n{NO_ISSUES.format(run)}")
    if json is not None:
        write_json(asdict(diagnosis), json)
        print(f"All findings: {json}")


@command("report")
def report(run: Run) -> None:
    """Write the report.html of a run again."""
    print_report(run)


def print_report(run: Path) -> None:
    """Write the report of a run, and print its main sentences."""
    from cyclegan.evaluation.report.report import write_report

    written = write_report(run)
    for sentence in written.sentences:
        print(sentence)
    print(f"Report: {written.path}")
