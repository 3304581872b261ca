"""`cyclegan data check`."""

import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import tyro
from typing_extensions import Doc

from cyclegan.cli.options import parse
from cyclegan.config.presets import PresetName
from cyclegan.config.schema import Config, PreprocessPolicy
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.methods.registry import validate_method
from cyclegan.training.setup import preset_settings, with_load_size


@dataclass
class Check:
    """Check every image of a data set for problems, and forecast training on it.

    The exit code is 1 if training would fail or be meaningless, otherwise 0, even with warnings.
    """

    data: Annotated[Optional[Path], tyro.conf.Positional, Doc("The data, as for `cyclegan train`.")] = None
    a: Annotated[Optional[Path], Doc("Folder of domain A, with --b, instead of DATA.")] = None
    b: Annotated[Optional[Path], Doc("Folder of domain B, with --a, instead of DATA.")] = None
    method: Annotated[str, Doc("Method to train.")] = "cyclegan"
    preset: Annotated[PresetName, Doc("Preset to train with.")] = "auto"
    preprocess: Annotated[Optional[PreprocessPolicy], Doc("How images are resized and cropped.")] = None
    load_size: Annotated[Optional[int], Doc("Size after resizing, in pixels.")] = None
    crop_size: Annotated[Optional[int], Doc("Size of the random crop, in pixels.")] = None
    channels_a: Annotated[int, Doc("Channels of A.")] = 3
    channels_b: Annotated[int, Doc("Channels of B.")] = 3
    range_a: Annotated[Optional[str], Doc("Stored values of A mapped to black and white, as for `cyclegan train`.")] = (
        None
    )
    range_b: Annotated[Optional[str], Doc("Stored values of B mapped to black and white.")] = None
    sheet: Annotated[Optional[Path], Doc("File for the contact sheet. Default: NAME-check.png.")] = None
    json: Annotated[bool, Doc("Print JSON with all affected files; a contact sheet only with --sheet.")] = False
    workers: Annotated[Optional[int], Doc("Processes that inspect images. Default: one per CPU core.")] = None


def check(arguments: list[str]) -> None:
    """`cyclegan data check DATA`."""
    options = parse(Check, "cyclegan data check", arguments)
    config, words = _planned(options)

    from cyclegan.data.check.check import check_data
    from cyclegan.data.check.console import print_check, track_inspection
    from cyclegan.data.check.contact_sheet import contact_sheet
    from cyclegan.data.select import find_data
    from cyclegan.imaging.encode import write_image

    check = check_data(config, find_data(config), words, workers=options.workers, track=track_inspection)
    if options.json:
        print(json.dumps(check.as_json(), indent=2))
    else:
        print_check(check)
    name = "2".join(path.resolve().name for path in (options.data, options.a, options.b) if path is not None)
    sheet = options.sheet or (None if options.json else Path(f"{name}-check.png"))
    if sheet is not None:
        try:
            write_image(contact_sheet(check.parts), sheet)
            print(f"Contact sheet: {sheet}", file=sys.stderr if options.json else sys.stdout)
        except CycleGANError as error:
            if options.sheet is not None:
                raise
            print(error, file=sys.stderr)  # the sheet was not requested, so this is not an error
    if check.level == "error":
        raise SystemExit(1)


def _planned(options: Check) -> tuple[Config, list[str]]:
    """The configuration for training on the data, and the arguments of `cyclegan train` for it."""
    pixels = ("channels_a", "channels_b", "range_a", "range_b")
    own = ("data", "a", "b", "preprocess", "load_size", "crop_size", *pixels)
    given = {name: value for name in own if (value := getattr(options, name)) is not None}
    settings = preset_settings("paper" if options.preset == "auto" else options.preset, options.method)
    if options.preset == "auto":
        from cyclegan.training.setup import detect_environment

        with suppress(UsageError):  # no image is readable, which the check reports
            settings, _ = detect_environment(Config().with_settings(method=options.method, **given))
    words = [str(given["data"])] if "data" in given else []
    defaults = vars(Check())
    for name in ("a", "b", "method", "preset", "preprocess", "load_size", "crop_size", *pixels):
        if (value := getattr(options, name)) != defaults[name]:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return validate_method(with_load_size(Config().with_settings(**(settings | given)), given)), words
