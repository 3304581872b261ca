"""`cyclegan evaluate` and `cyclegan compare`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command, require_model
from cyclegan.cli.settings import Device, OptionalInt, OptionalPath, OptionalText, Switch
from cyclegan.errors import UsageError

Images = Annotated[int, Doc("Maximum number of images of each kind to measure on.")]
Inception = Annotated[
    OptionalText, Doc("Weights of torch-fidelity's Inception for FID and KID: a file, or 'download'.")
]


@command("evaluate")
def evaluate(
    run: Annotated[Path, tyro.conf.Positional, Doc("Run folder, checkpoint, model folder, or hf:user/name.")],
    data: Annotated[
        OptionalPath,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[DATA]"),
        Doc("Other data than the run was trained on."),
    ] = None,
    *,
    checkpoint: Annotated[OptionalText, Doc("A checkpoint of the run, such as step-0001000 or best.")] = None,
    all: Annotated[Switch, Doc("Measure all numbered checkpoints and the last.")] = False,
    images: Images = 500,
    size: Annotated[OptionalInt, Doc("Resize images to this many pixels. Default: as in training.")] = None,
    inception: Inception = None,
    json: Annotated[Switch, Doc("Print JSON, with the metrics of each image.")] = False,
    device: Device = "auto",
) -> None:
    """Measure the quality of a model's translations."""
    if all and checkpoint:
        raise UsageError("Give either --all or --checkpoint, not both.")
    _require_images(images)
    if size is not None and size < 16:
        raise UsageError(f"--size is {size}; it must be at least 16.")
    require_model(run)

    from cyclegan.cli.console import output_console, print_json
    from cyclegan.evaluation import evaluate as evaluation
    from cyclegan.evaluation.table import LEGEND, evaluation_table, footnotes
    from cyclegan.runs.results import EVALUATION_FILE, evaluation_headline, write_evaluations

    evaluations = evaluation.evaluate(
        run,
        data,
        checkpoint=checkpoint,
        all_checkpoints=all,
        max_images=images,
        size=size,
        inception=inception,
        device=device,
        on_progress=_print_progress,
    )
    if json:
        print_json([asdict(each) for each in evaluations])
    else:
        console = output_console()
        for each in {each.direction: each for each in evaluations}.values():  # with --all, of the last checkpoint
            console.print(f"{evaluation_headline(each)}\n", markup=False)
        for each in evaluations:
            console.print(evaluation_table(each))
            console.print()
        for sentence in [LEGEND, *footnotes(evaluations)]:
            console.print(sentence, markup=False)
    if not (all or checkpoint or data) and (run / "checkpoints").is_dir():
        from cyclegan.evaluation.report.report import write_report

        write_evaluations(evaluations, run / EVALUATION_FILE)
        print(f"Report: {write_report(run).path}", file=sys.stderr if json else sys.stdout)


@command("compare")
def compare(
    runs: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN RUN ...", help_behavior_hint="(required)"),
        Doc("Run folders, checkpoints, model folders, or hf:user/name."),
    ],
    *,
    data: Annotated[OptionalPath, Doc("Other data than the first run was trained on.")] = None,
    images: Images = 500,
    inception: Inception = None,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"]), Doc("Page with tables and images.")] = Path(
        "comparison.html"
    ),
    json: Annotated[Switch, Doc("Print JSON, with the metrics of each image.")] = False,
    device: Device = "auto",
) -> None:
    """Measure runs side by side on the same images."""
    _require_images(images)
    for run in runs:
        require_model(run)

    from rich.table import Table

    from cyclegan.cli.console import output_console, print_json
    from cyclegan.evaluation import compare as comparison
    from cyclegan.evaluation.report.report import write_comparison

    comparisons = comparison.compare(
        runs, data, max_images=images, inception=inception, device=device, on_progress=_print_progress
    )
    if json:
        print_json([asdict(each) for each in comparisons])
    else:
        console = output_console()
        for each in comparisons:
            first = each.evaluations[0]
            title = f"{first.source} → {first.target}"
            table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
            for name in ("", *comparison.run_labels(runs)):
                table.add_column(name, overflow="fold")
            for row in comparison.table_rows(each):
                table.add_row(*(row if console.is_terminal else (cell.replace("\n", "  ") for cell in row)))
            console.print(table)
            console.print()
        console.print(comparison.LEGEND, markup=False)
    write_comparison(comparisons, runs, data, output, device=device)
    print(f"Page: {output}", file=sys.stderr if json else sys.stdout)


def _require_images(count: int) -> None:
    if count < 2:
        raise UsageError(f"--images is {count}; it must be at least 2.")


def _print_progress(text: str) -> None:
    print(f"{text} ...", file=sys.stderr)
