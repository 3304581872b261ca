"""`cyclegan publish`, `cyclegan import-weights` and `cyclegan export-weights`."""

from pathlib import Path
from typing import Annotated

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command
from cyclegan.cli.settings import OptionalText, Switch


@command("publish")
def publish(
    run: Annotated[Path, tyro.conf.Positional, Doc("Run folder, or a model folder to upload as it is.")],
    name: Annotated[str, tyro.conf.Positional, Doc("Name of the model on the hub, user/name.")],
    *,
    private: Annotated[Switch, Doc("Create a private repository.")] = False,
    license: Annotated[OptionalText, Doc("License of the model, as the hub names it, such as cc-by-4.0.")] = None,
    discriminators: Annotated[Switch, Doc("Upload the discriminators too, for fine-tuning.")] = False,
) -> None:
    """Upload a model and its card to the Hugging Face hub."""
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
    print(f"Translate with: cyclegan translate {output} INPUT -o OUTPUT --direction {model.directions[0]}")


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
    from cyclegan.runs.model import read_model
    from cyclegan.runs.reference_files import export_model, write_files

    state_dicts, options = export_model(read_model(run), epoch)
    write_files(state_dicts, output, overwrite=overwrite)
    print(f"{output}: {', '.join(state_dicts)}")
    target = f"--checkpoints_dir {output.resolve().parent} --name {output.resolve().name} --epoch {epoch}"
    print(f"Test there with: python test.py --dataroot DATA {target} {' '.join(options)}")
