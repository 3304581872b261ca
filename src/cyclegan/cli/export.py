"""`cyclegan export`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Optional

import tyro
from typing_extensions import Doc

from cyclegan.cli.options import parse
from cyclegan.config.schema import Direction
from cyclegan.errors import UsageError


@dataclass
class Export:
    """Export a trained generator for other programs, compared at once with the original on real images."""

    run: Annotated[Path, tyro.conf.Positional, Doc("A run folder, a checkpoint folder or a model folder.")]
    format: Annotated[
        Literal["onnx", "openvino", "torch-export", "safetensors", "web"],
        Doc("Format; 'safetensors' is a model folder, 'web' a page that translates in the browser."),
    ]
    output: Annotated[
        Optional[Path], tyro.conf.arg(aliases=["-o"]), Doc("File or folder to make; RUN-DIRECTION if not given.")
    ] = None
    direction: Annotated[Optional[Direction], Doc("Which way; AtoB, or the only one learned, if not given.")] = None
    half: Annotated[bool, Doc("Weights and arithmetic in 16 bit: half the size, faster on GPUs.")] = False
    int8: Annotated[bool, Doc("Convolutions in 8 bit, calibrated on images: a quarter of the size, a bit rougher.")] = (
        False
    )
    fixed_size: Annotated[Optional[str], Doc("HxW, for devices that take one size and one image at a time.")] = None
    images: Annotated[Optional[Path], Doc("Images to compare and calibrate on; the run's own if not given.")] = None
    min_psnr: Annotated[
        Optional[float], Doc("dB against the original below which it fails; 80, with --half 50, with --int8 30.")
    ] = None
    from_file: Annotated[Optional[Path], Doc("The npm package of the runtime for 'web', if it cannot be fetched.")] = (
        None
    )
    overwrite: Annotated[bool, Doc("Replace an export that exists.")] = False


def export(arguments: list[str]) -> None:
    """`cyclegan export RUN --format FORMAT`."""
    options = parse(Export, "cyclegan export", arguments)
    if options.half and options.int8:
        raise UsageError("--half and --int8 were both given; choose one.")
    size = _size(options.fixed_size)

    from cyclegan.runs.model import read_model
    from cyclegan.translation.export import export as exporting

    model = read_model(options.run)
    direction = options.direction or model.directions[0]
    order = exporting.ExportSpec(
        options.format,
        "float16" if options.half else "int8" if options.int8 else "float32",
        size,
        direction,
        options.min_psnr,
        options.from_file,
    )
    out = options.output or Path(f"{options.run.resolve().name}-{direction}{exporting.suffix(order)}")
    images = (
        exporting.images_in_folder(options.images)
        if options.images
        else exporting.images_of_run(options.run, direction)
    )
    report = exporting.export(options.run, out, order, images, overwrite=options.overwrite)
    print(report)
    if model.config.networks.dropout_at_test:
        print("The run's dropout at test is left out: exports have no noise.")
    print(f"{out} is written. {_next(out, options.format)}")


def _next(out: Path, to: str) -> str:
    if to == "web":
        return f"Open {out / 'index.html'} in a browser."
    if to == "torch-export":
        return "Load it with torch.export.load, and only if you trust whoever gave it to you."
    return f"Translate with: cyclegan translate {out} INPUT -o OUT"


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or not (int(found[1]) and int(found[2])):
        raise UsageError(f"--fixed-size is {text!r}; it must be HxW in pixels, such as 256x256.")
    return int(found[1]), int(found[2])
