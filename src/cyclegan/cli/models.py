"""`cyclegan import-weights` and `cyclegan export-weights`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import tyro
from typing_extensions import Doc

from cyclegan.cli.options import parse


@dataclass
class ImportWeights:
    """Make a model of the weights of the authors' PyTorch repositories (CycleGAN, pix2pix, CUT)."""

    files: Annotated[
        Path, tyro.conf.Positional, Doc("One generator's .pth file, or a folder checkpoints/NAME of theirs.")
    ]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"]), Doc("Model folder to make.")]
    epoch: Annotated[str, Doc("Which EPOCH_net_….pth of a folder.")] = "latest"
    overwrite: Annotated[bool, Doc("Replace a model that exists.")] = False


@dataclass
class ExportWeights:
    """Write a run's or model's weights as .pth files of the authors' PyTorch repositories."""

    run: Annotated[Path, tyro.conf.Positional, Doc("A run folder, a checkpoint folder or a model folder.")]
    output: Annotated[
        Path, tyro.conf.arg(aliases=["-o"]), Doc("Folder for the files, checkpoints/NAME for their scripts.")
    ]
    epoch: Annotated[str, Doc("What the files' names begin with.")] = "latest"
    overwrite: Annotated[bool, Doc("Replace files that exist.")] = False


def import_weights(arguments: list[str]) -> None:
    """`cyclegan import-weights FILES -o MODEL`."""
    options = parse(ImportWeights, "cyclegan import-weights", arguments)

    from cyclegan.runs.model import write_model
    from cyclegan.runs.reference_files import import_model

    model, sentences = import_model(options.files, options.epoch)
    write_model(model, options.output, overwrite=options.overwrite)
    for sentence in sentences:
        print(sentence)
    print(f"{options.output}: a model of the method {model.method}, {' and '.join(model.directions)}")
    print(f"Translate with: cyclegan translate {options.output} INPUT -o OUT --direction {model.directions[0]}")


def export_weights(arguments: list[str]) -> None:
    """`cyclegan export-weights RUN -o DIR`."""
    options = parse(ExportWeights, "cyclegan export-weights", arguments)

    from cyclegan.runs.model import read_model
    from cyclegan.runs.reference_files import export_model, write_files

    export = export_model(read_model(options.run), options.epoch)
    write_files(export.files, options.output, overwrite=options.overwrite)
    print(f"{options.output}: {', '.join(export.files)}")
    place = "--checkpoints_dir {0.parent} --name {0.name} --epoch {1}".format(options.output.resolve(), options.epoch)
    print(f"Test there with: python test.py --dataroot DATA {place} {' '.join(export.options)}")


@dataclass
class Publish:
    """Upload a trained model to the Hugging Face hub, with a model card of its training, quality and samples."""

    run: Annotated[Path, tyro.conf.Positional, Doc("A run folder, or a model folder, which is uploaded unchanged.")]
    name: Annotated[str, tyro.conf.Positional, Doc("The model's name on the hub: USER/NAME.")]
    private: Annotated[bool, Doc("Create a private repository.")] = False
    license: Annotated[Optional[str], Doc("License of the model, as the hub names it, such as cc-by-4.0.")] = None
    discriminators: Annotated[bool, Doc("Upload the discriminators too, for fine-tuning.")] = False


def publish(arguments: list[str]) -> None:
    """`cyclegan publish RUN NAME`."""
    options = parse(Publish, "cyclegan publish", arguments)

    from cyclegan.runs import publish as publishing

    address = publishing.publish(
        options.run,
        options.name,
        private=options.private,
        license=options.license,
        discriminators=options.discriminators,
    )
    print(f"Published at {address}.")
    print(f"Translate with: cyclegan translate hf:{options.name} INPUT -o OUT")
