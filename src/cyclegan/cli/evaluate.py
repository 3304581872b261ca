"""`cyclegan evaluate` and `cyclegan compare`."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Optional

import tyro
from typing_extensions import Doc

from cyclegan.cli.options import parse
from cyclegan.errors import UsageError


@dataclass
class Evaluate:
    """Measure how good a run's translations are: against truth, against real images, of the cycle, of the content."""

    run: Annotated[Path, tyro.conf.Positional, Doc("A run folder, a checkpoint folder or a model.")]
    data: Annotated[Optional[Path], tyro.conf.Positional, Doc("Other data than that of training.")] = None
    checkpoint: Annotated[Optional[str], Doc("A checkpoint of the run by name, such as step-0001000 or best.")] = None
    all: Annotated[bool, Doc("Measure all numbered checkpoints, and the last.")] = False
    images: Annotated[int, Doc("Images of each kind that are measured on, at most.")] = 500
    size: Annotated[Optional[int], Doc("Pixels that images are brought to; as in training if not given.")] = None
    inception: Annotated[
        Optional[str], Doc("Weights of torch-fidelity's Inception for FID and KID: a file, or 'download'.")
    ] = None
    json: Annotated[Optional[Path], Doc("Write all metrics, including those of each image, to this JSON file.")] = None


def evaluate(arguments: list[str]) -> None:
    """`cyclegan evaluate RUN [DATA]`."""
    options = parse(Evaluate, "cyclegan evaluate", arguments)
    if options.all and options.checkpoint:
        raise UsageError("Give either --all or --checkpoint, not both.")
    if options.images < 2:
        raise UsageError(f"--images is {options.images}; it must be at least 2.")
    if options.size is not None and options.size < 16:
        raise UsageError(f"--size is {options.size}; it must be at least 16.")

    from rich.console import Console

    from cyclegan.evaluation import evaluate as evaluation
    from cyclegan.evaluation.table import LEGEND, evaluation_table, footnotes
    from cyclegan.runs.results import EVALUATION_FILE, write_evaluations

    evaluations = evaluation.evaluate(
        options.run,
        options.data,
        checkpoint=options.checkpoint,
        all_checkpoints=options.all,
        max_images=options.images,
        size=options.size,
        inception=options.inception,
        on_progress=lambda text: print(f"{text} ...", file=sys.stderr),
    )
    console = Console()
    for each in evaluations:
        console.print(evaluation_table(each))
        console.print()
    for sentence in [LEGEND, *footnotes(evaluations)]:
        console.print(sentence, highlight=False, markup=False)
    if options.json is not None:
        write_evaluations(evaluations, options.json)
        print(f"All metrics: {options.json}")
    if not (options.all or options.checkpoint or options.data) and (options.run / "checkpoints").is_dir():
        from cyclegan.evaluation.report.report import write_report

        write_evaluations(evaluations, options.run / EVALUATION_FILE)
        print(f"Report: {write_report(options.run).path}")


@dataclass
class Compare:
    """Measure runs side by side on the same test images, and show what each makes of the same inputs."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, Doc("Run folders, checkpoint folders or models.")]
    data: Annotated[Optional[Path], Doc("Other data than that of the first run.")] = None
    images: Annotated[int, Doc("Images of each kind that are measured on, at most.")] = 500
    inception: Annotated[
        Optional[str], Doc("Weights of torch-fidelity's Inception for FID and KID: a file, or 'download'.")
    ] = None
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"]), Doc("The page with tables and pictures.")] = Path(
        "comparison.html"
    )
    json: Annotated[Optional[Path], Doc("Write all metrics and differences to this JSON file.")] = None


def compare(arguments: list[str]) -> None:
    """`cyclegan compare RUN RUN ...`."""
    options = parse(Compare, "cyclegan compare", arguments)
    if options.images < 2:
        raise UsageError(f"--images is {options.images}; it must be at least 2.")

    from rich.console import Console
    from rich.table import Table

    from cyclegan.evaluation import compare as comparison
    from cyclegan.evaluation.report.compare_page import write_comparison
    from cyclegan.runs.results import write_json

    comparisons = comparison.compare(
        options.runs,
        options.data,
        max_images=options.images,
        inception=options.inception,
        on_progress=lambda text: print(f"{text} ...", file=sys.stderr),
    )
    console = Console()
    for each in comparisons:
        first = each.evaluations[0]
        table = Table(title=f"{first.source} → {first.target}", title_justify="left", title_style="bold", box=None)
        for name in ("", *comparison.run_labels(options.runs)):
            table.add_column(name, overflow="fold")
        for row in comparison.table_rows(each):
            table.add_row(*row)
        console.print(table)
        console.print()
    console.print(comparison.LEGEND, highlight=False, markup=False)
    if options.json is not None:
        write_json([asdict(each) for each in comparisons], options.json)
        print(f"All metrics: {options.json}")
    write_comparison(comparisons, options.runs, options.data, options.output)
    print(f"Page: {options.output}")


@dataclass
class Diagnose:
    """Look for what goes wrong in a training: say what is seen, how sure it is, and what to do."""

    run: Annotated[Path, tyro.conf.Positional, Doc("The run folder.")]
    json: Annotated[Optional[Path], Doc("Write what was found to this file, too.")] = None


def diagnose(arguments: list[str]) -> None:
    """`cyclegan diagnose RUN`."""
    options = parse(Diagnose, "cyclegan diagnose", arguments)

    from rich.console import Console
    from rich.padding import Padding

    from cyclegan.diagnosis.diagnose import NO_ISSUES
    from cyclegan.diagnosis.diagnose import diagnose as examine
    from cyclegan.runs.results import write_json

    diagnosis = examine(options.run)
    console = Console(highlight=False, markup=False)
    console.print(diagnosis.summary)
    for issue in diagnosis.issues:
        console.print(f"\n{issue.name} ({issue.certainty})", style="bold")
        for direction, observation in issue.observations:
            console.print(Padding(f"{direction}: {observation}" if direction else observation, (0, 0, 0, 2)))
        console.print(Padding(f"→ {issue.advice}", (0, 0, 0, 2)))
    if not diagnosis.issues:
        console.print(f"\n{NO_ISSUES.format(options.run)}")
    if options.json is not None:
        write_json(asdict(diagnosis), options.json)
        print(f"All findings: {options.json}")


@dataclass
class Report:
    """Write a run's report.html anew."""

    run: Annotated[Path, tyro.conf.Positional, Doc("The run folder.")]


def report(arguments: list[str]) -> None:
    """`cyclegan report RUN`."""
    print_report(parse(Report, "cyclegan report", arguments).run)


def print_report(run: Path) -> None:
    """Write a run's report, and print what it says."""
    from cyclegan.evaluation.report.report import write_report

    written = write_report(run)
    for sentence in written.sentences:
        print(sentence)
    print(f"Report: {written.path}")
