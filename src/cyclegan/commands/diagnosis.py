"""`cyclegan diagnose`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import tyro
from typing_extensions import Doc

from cyclegan.commands.options import parse


@dataclass
class Diagnose:
    """Look for what goes wrong in a training: say what is seen, how sure it is, and what to do."""

    run: Annotated[Path, tyro.conf.Positional, Doc("The run folder.")]
    json: Annotated[Optional[Path], Doc("Write what was found to this file, too.")] = None


def diagnose(arguments: list[str]) -> None:
    """`cyclegan diagnose RUN`."""
    options = parse(Diagnose, "cyclegan diagnose", arguments)

    from dataclasses import asdict

    from rich.console import Console
    from rich.padding import Padding

    from cyclegan.evaluation import figures
    from cyclegan.evaluation.diagnosis import NO_PROOF, NOTHING_FOUND
    from cyclegan.evaluation.diagnosis import diagnose as examine

    diagnosis = examine(options.run)
    console = Console(highlight=False, markup=False)
    console.print(diagnosis.looked_at)
    for complaint in diagnosis.complaints:
        console.print(f"\n{complaint.illness} ({complaint.certainty})", style="bold")
        for direction, seen in complaint.seen:
            console.print(Padding(f"{direction}: {seen}" if direction else seen, (0, 0, 0, 2)))
        console.print(Padding(f"→ {complaint.advice}", (0, 0, 0, 2)))
    if not diagnosis.complaints:
        console.print(f"\n{NOTHING_FOUND} {NO_PROOF.format(options.run)}")
    if options.json is not None:
        figures.write_plain(asdict(diagnosis), options.json)
        print(f"All findings: {options.json}")
