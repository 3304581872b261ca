"""`cyclegan diagnose` and `cyclegan report`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command, require_run
from cyclegan.cli.settings import Device, OptionalPath, Switch
from cyclegan.system.text import quote

Run = Annotated[Path, tyro.conf.Positional, Doc("Run folder.")]


@command("diagnose")
def diagnose(
    run: Run,
    *,
    data: Annotated[OptionalPath, Doc("Folder of the data, if it has moved.")] = None,
    json: Annotated[Switch, Doc("Print JSON.")] = False,
    device: Device = "auto",
) -> None:
    """Look for problems in a run, and how to solve them."""
    require_run(run)

    from rich.padding import Padding
    from rich.text import Text

    from cyclegan.cli.console import output_console, print_json
    from cyclegan.diagnosis.diagnose import NO_ISSUES
    from cyclegan.diagnosis.diagnose import diagnose as find_issues

    diagnosis = find_issues(run, data, device=device)
    if json:
        print_json(asdict(diagnosis))
        return
    console = output_console()
    console.print(Text(diagnosis.summary))
    for issue in diagnosis.issues:
        console.print(Text(f"\n{issue.name} ({issue.certainty})", style="bold"))
        for direction, observation in [*issue.observations, ("", f"→ {issue.advice}")]:
            text = f"{direction}: {observation}" if direction else observation
            console.print(Padding(Text(text), (0, 0, 0, 2), expand=False))
    if not diagnosis.issues:
        console.print(Text(f"\n{NO_ISSUES.format(quote(run))}"))


@command("report")
def report(run: Run) -> None:
    """Write the report.html of a run again."""
    require_run(run)
    print_report(run)


def print_report(run: Path) -> None:
    """Write the report of a run, and print its main sentences."""
    from cyclegan.evaluation.report.report import write_report

    print("Translating test images for the report ...", file=sys.stderr)
    written = write_report(run)
    for sentence in written.sentences:
        print(sentence)
    print(f"Report: {written.path}")
