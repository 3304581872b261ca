"""`cyclegan models`, `cyclegan publish`, `cyclegan import-weights` and `cyclegan export-weights`."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command, require_model
from cyclegan.cli.console import print_json
from cyclegan.cli.data_get import DownloadProgress
from cyclegan.cli.settings import OUTPUT, OptionalPath, OptionalText, Switch
from cyclegan.system.text import quote


@command("models list")
def list_models(*, json: Annotated[Switch, Doc("Print JSON.")] = False) -> None:
    """List the models that the authors released."""
    from cyclegan.runs.released import RELEASED

    if json:
        print_json([asdict(each) for each in RELEASED.values()])
        return
    print(f"{'name':<29}{'translates':<20}{'size, about':>11}  license")
    for each in RELEASED.values():
        print(f"{each.name:<29}{' to '.join(each.domains):<20}{each.size // 10**6:>8} MB  {each.license}")
    print("\n'None stated' is not a license: ask the authors before any use beyond research.")
    print("Get one with: cyclegan models get NAME")


@command("models get")
def get_model(
    name: Annotated[str, tyro.conf.Positional, Doc("Name from `cyclegan models list`.")],
    *,
    output: Annotated[OptionalPath, OUTPUT, Doc("Model folder to create. Default: models/NAME.")] = None,
    mirror: Annotated[OptionalText, Doc("Address of a folder with the same files, tried before the authors'.")] = None,
) -> None:
    """Download a model that the authors released.

    For example
      cyclegan models get horse2zebra
      cyclegan translate models/horse2zebra photos/ -o zebras/
    """
    from cyclegan.runs import released as released_models

    released = released_models.find_released(name)
    to = output or Path("models") / name
    try:
        with DownloadProgress(name) as progress:
            sentences = released_models.get_model(released, to, progress, mirror)
    except KeyboardInterrupt:
        if (partial := released_models.partial_file(released, to)).size():
            print(partial.describe(), file=sys.stderr)
        raise
    for sentence in sentences:
        print(sentence)
    print(f"License: {released.license}; ask the authors before any use beyond research.")
    print(f"Please cite {released.citation}.")
    print(f"Translate with: cyclegan translate {quote(to)} INPUT -o OUTPUT")


@command("publish")
def publish(
    run: Annotated[Path, tyro.conf.Positional, Doc("Run folder, or a model folder to upload as it is.")],
    name: Annotated[str, tyro.conf.Positional, Doc("Name of the model on the hub, user/name.")],
    *,
    private: Annotated[Switch, Doc("Create a private repository.")] = False,
    license: Annotated[OptionalText, Doc("License of the model, as the hub names it, such as cc-by-4.0.")] = None,
    discriminators: Annotated[Switch, Doc("Upload the discriminators too, for fine-tuning.")] = False,
) -> None:
    """Upload a model and its card to the Hugging Face hub.

    `cyclegan export RUN --format safetensors` writes both into a folder instead.
    """
    require_model(run)

    from cyclegan.runs import publish as publishing

    address = publishing.publish(run, name, private=private, license=license, discriminators=discriminators)
    print(f"Published at {address}.")
    print(f"Translate with: cyclegan translate hf:{name} INPUT -o OUTPUT")


@command("import-weights")
def import_weights(
    files: Annotated[
        Path, tyro.conf.Positional, Doc("A generator's .pth file, or a folder checkpoints/NAME with several.")
    ],
    *,
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"]), Doc("Model folder to create.")],
    epoch: Annotated[str, Doc("Load EPOCH_net_*.pth of a folder.")] = "latest",
    overwrite: Annotated[Switch, Doc("Replace an existing model.")] = False,
) -> None:
    """Make a model from the authors' .pth files.

    These are weights of their PyTorch repositories (CycleGAN, pix2pix, CUT).
    """
    from cyclegan.runs.publish import write_model
    from cyclegan.runs.reference_files import import_model

    model, sentences = import_model(files, epoch)
    write_model(model, output, overwrite=overwrite)
    for sentence in sentences:
        print(sentence)
    print(f"{output}: a model of the method {model.method}, {' and '.join(model.directions)}")
    print(f"Translate with: cyclegan translate {quote(output)} INPUT -o OUTPUT --direction {model.directions[0]}")


@command("export-weights")
def export_weights(
    run: Annotated[Path, tyro.conf.Positional, Doc("Run folder, checkpoint or model folder.")],
    *,
    output: Annotated[
        Path, tyro.conf.arg(aliases=["-o"]), Doc("Folder for the files: checkpoints/NAME for the authors' scripts.")
    ],
    epoch: Annotated[str, Doc("First part of the file names.")] = "latest",
    overwrite: Annotated[Switch, Doc("Replace existing files.")] = False,
) -> None:
    """Write .pth files for the authors' repositories."""
    require_model(run)

    from cyclegan.runs.model import read_model
    from cyclegan.runs.reference_files import export_model, write_files

    state_dicts, options = export_model(read_model(run), epoch)
    write_files(state_dicts, output, overwrite=overwrite)
    print(f"{output}: {', '.join(state_dicts)}")
    target = f"--checkpoints_dir {output.resolve().parent} --name {output.resolve().name} --epoch {epoch}"
    print(f"Test there with: python test.py --dataroot DATA {target} {' '.join(options)}")
