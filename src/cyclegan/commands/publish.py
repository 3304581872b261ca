"""`cyclegan publish`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from typing_extensions import Doc

from cyclegan.commands.options import parse


@dataclass
class Publish:
    """Upload a trained model to the Hugging Face hub, with a card of its settings, data, quality and samples."""

    run: Annotated[Path, tyro.conf.Positional, Doc("A run folder, or a model folder, which goes as it is.")]
    name: Annotated[str, tyro.conf.Positional, Doc("The model's name on the hub, user/name.")]
    private: Annotated[bool, Doc("Only for you and those you let.")] = False


def publish(arguments: list[str]) -> None:
    """`cyclegan publish RUN NAME`."""
    options = parse(Publish, "cyclegan publish", arguments)

    from cyclegan import publishing

    print(f"{publishing.publish(options.run, options.name, private=options.private)} has the model now.")
    print(f"Translate with: cyclegan translate hf:{options.name} INPUT -o OUT")
