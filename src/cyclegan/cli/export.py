"""`cyclegan export`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command, require_model
from cyclegan.cli.settings import NO_DEFAULT, OUTPUT, OptionalDirection, OptionalPath, OptionalText, Switch
from cyclegan.errors import UsageError


@dataclass
class Options:
    """Options of `cyclegan export`."""

    run: Annotated[Path, tyro.conf.Positional, Doc("Run folder, checkpoint, model folder, or hf:user/name.")]
    format: Annotated[
        Optional[str],
        tyro.conf.arg(metavar="FORMAT", help_behavior_hint=""),
        Doc(
            "onnx, openvino, torch-export, safetensors (a model folder), web (a page that translates in the browser), "
            "space (a folder that runs as a Hugging Face Space), or a format of an installed package. "
            "Default: the one that -o ends in, or onnx."
        ),
    ] = None
    output: Annotated[Optional[Path], OUTPUT, Doc("File or folder to create. Default: RUN-DIRECTION.")] = None
    direction: Annotated[
        OptionalDirection,
        Doc("AtoB, BtoA, or by the domains' names, such as zebra2horse. Default: AtoB, or the only one."),
    ] = None
    half: Annotated[Switch, Doc("16-bit weights and arithmetic: half the size, faster on GPUs.")] = False
    int8: Annotated[Switch, Doc("8-bit convolutions, calibrated on images: quarter size, less accurate.")] = False
    fixed_size: Annotated[OptionalText, Doc("HxW, for devices that take one size and one image at a time.")] = None
    images: Annotated[OptionalPath, Doc("Images to compare and calibrate on. Default: the run's own.")] = None
    min_psnr: Annotated[
        Optional[float],
        NO_DEFAULT,
        Doc("Fail below this PSNR against the original, dB. Default: 80, with --half 50, with --int8 30."),
    ] = None
    from_file: Annotated[OptionalPath, Doc("npm package of the runtime for 'web', if it cannot be downloaded.")] = None
    overwrite: Annotated[Switch, Doc("Replace an existing export.")] = False
    device: Annotated[str, Doc("Device to compare on: cpu, cuda, mps, ..., as far as the format has it.")] = "cpu"


@command("export")
def export(options: Annotated[Options, tyro.conf.arg(name="")]) -> None:
    """Export a generator: ONNX, OpenVINO, PyTorch, browsers.

    Every export is compared with the original on real images before it is kept.

    For example
      cyclegan export runs/horse2zebra -o model.onnx
      cyclegan export runs/horse2zebra --format openvino --int8
      cyclegan export runs/horse2zebra --format web -o page
    """
    if options.half and options.int8:
        raise UsageError("--half and --int8 were both given; choose one.")
    size = _size(options.fixed_size)
    require_model(options.run)

    from cyclegan.translation.export.export import export as export_generator
    from cyclegan.translation.export_formats import FORMATS, infer_format

    format = options.format or infer_format(options.output)
    report = export_generator(
        options.run,
        format,
        options.output,
        precision="float16" if options.half else "int8" if options.int8 else "float32",
        fixed_size=size,
        direction=options.direction,
        images=options.images,
        min_psnr=options.min_psnr,
        web_runtime=options.from_file,
        overwrite=options.overwrite,
        device=options.device,
    )
    print(report)
    print(f"Wrote {report.path}. {FORMATS[format].usage_of(report.path)}")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if not found or not (int(found[1]) and int(found[2])):
        raise UsageError(f"--fixed-size is {text!r}; it must be HxW in pixels, such as 256x256.")
    return int(found[1]), int(found[2])
