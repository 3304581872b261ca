"""Publishing a trained model on the Hugging Face hub, with a model card of its training, quality and samples."""

import tempfile
from pathlib import Path

from cyclegan.config.schema import Config
from cyclegan.errors import UsageError
from cyclegan.runs.card import SAMPLES, model_card
from cyclegan.runs.folder import identify, read_run
from cyclegan.runs.hub import upload
from cyclegan.runs.model import read_model, write_model
from cyclegan.runs.summary import summarize


def publish(
    source: Path, name: str, *, private: bool = False, license: str | None = None, discriminators: bool = False
) -> str:
    """Upload a run or a model folder to the Hugging Face hub as ``user/name`` and return its address.

    A model folder is uploaded unchanged. Of a run, the generators are uploaded, with `discriminators` all networks
    (for fine-tuning), and a model card, whose license field is `license`, such as "cc-by-4.0". Raises `UsageError` and
    `CycleGANError`.
    """
    if identify(source) == "model":
        if license or discriminators:
            raise UsageError(f"{source} is a model folder, which is uploaded unchanged; edit its README.md.")
        return upload(source, name, private=private)
    model, summary = read_model(source, generators_only=not discriminators), summarize(source)
    config = _without_local_paths(read_run(source))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        card = model_card(model, name, on_hub=True, license=license, summary=summary, config=config)
        write_model(model, folder, card=card)
        for direction, samples in summary.samples.items():
            (folder / SAMPLES.format(direction)).write_bytes(samples.read_bytes())
        return upload(folder, name, private=private)


def _without_local_paths(config: Config) -> Config:
    paths = {n: Path(v.name) for n, v in vars(config.data).items() if isinstance(v, Path)}
    start = config.networks.init_from
    return config.with_settings(**paths, runs=Path("runs"), init_from=Path(start.name) if start else None, name=None)
