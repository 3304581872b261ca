"""`cyclegan data check`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command
from cyclegan.cli.console import print_json
from cyclegan.cli.settings import OptionalPath, Switch, settings
from cyclegan.config.presets import PresetName
from cyclegan.errors import CycleGANError, UsageError

CHECKED = (
    *("a", "b", "pairs", "method", "masks", "labels", "preprocess", "load_size", "crop_size"),
    *("channels_a", "channels_b", "range_a", "range_b"),
)
Planned = Annotated[
    dict[str, Any], tyro.conf.arg(name="", constructor_factory=settings(CHECKED, {"training": CHECKED}))
]


@command("data check")
def check(
    data: Annotated[OptionalPath, tyro.conf.Positional, Doc("Folder of the data, as for `cyclegan train`.")] = None,
    *,
    preset: Annotated[PresetName, Doc("Preset to train with.")] = "auto",
    sheet: Annotated[OptionalPath, Doc("File of the contact sheet. Default: NAME-check.png.")] = None,
    json: Annotated[
        Switch, Doc("Print JSON with every affected file; write no sheet unless --sheet is given.")
    ] = False,
    settings: Planned,
) -> None:
    """Look for problems in a data set before training.

    The exit code is 1 when training would fail or be meaningless, else 0.

    Sources: [C] CycleGAN's paper, [R] the authors' PyTorch repository.
    """
    from cyclegan.training.setup import configure

    if data is not None:
        settings["data"] = data
    try:
        config = configure(preset, compare_domains=False, **settings)
    except UsageError:
        if preset != "auto":
            raise
        config = configure("paper", **settings)  # no image can be read, which the check reports

    from cyclegan.cli.check_console import print_check, track_inspection
    from cyclegan.data.check.check import check_data, contact_sheet
    from cyclegan.imaging.encode import write_image

    words = [str(data)] if data is not None else []
    options = settings if preset == "auto" else {"preset": preset, **settings}
    for name in (*CHECKED, "preset"):
        if name in options:
            words += [f"--{name.replace('_', '-')}", str(options[name])]
    result = check_data(config, args=words, track=track_inspection)
    if json:
        print_json(result.as_json())
    else:
        print_check(result)
    given = (data, settings.get("a"), settings.get("b"))
    name = "2".join(path.resolve().name for path in given if path is not None)
    target = sheet or (None if json else Path(f"{name}-check.png"))
    if target is not None:
        try:
            write_image(contact_sheet(result.parts), target)
            print(f"Contact sheet: {target}", file=sys.stderr if json else sys.stdout)
        except CycleGANError as error:
            if sheet is not None:
                raise
            print(error, file=sys.stderr)  # not asked for, so the result stands
    if result.level == "error":
        raise SystemExit(1)
