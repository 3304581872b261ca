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

    from cyclegan.translation.export.export import export as export_generator
    from cyclegan.translation.export.registry import get_format

    report = export_generator(
        options.run,
        options.format,
        options.output,
        precision="float16" if options.half else "int8" if options.int8 else "float32",
        fixed_size=size,
        direction=options.direction,
        images=options.images,
        min_psnr=options.min_psnr,
        web_runtime=options.from_file,
        overwrite=options.overwrite,
    )
    print(report)
    print(f"Wrote {report.path}. {get_format(options.format).usage.format(path=report.path)}")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or not (int(found[1]) and int(found[2])):
        raise UsageError(f"--fixed-size is {text!r}; it must be HxW in pixels, such as 256x256.")
    return int(found[1]), int(found[2])
