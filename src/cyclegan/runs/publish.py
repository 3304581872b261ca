"""Model folders and their cards (``README.md``, with the Hugging Face hub's front matter): written and published."""

import json
import tempfile
from pathlib import Path

from safetensors import SafetensorError

from cyclegan.config.schema import Config
from cyclegan.config.toml import to_toml
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.runs.checkpoint import save_tensors
from cyclegan.runs.folder import identify, is_model_folder, read_run
from cyclegan.runs.hub import upload
from cyclegan.runs.model import FORMAT, VERSION, Model, read_model
from cyclegan.runs.summary import RunSummary, summarize
from cyclegan.system.atomic import replace_folder
from cyclegan.system.text import quote

SAMPLES = "samples-{}.png"  # by direction
CHANNELS = {1: "gray images", 2: "gray images with alpha", 3: "color images", 4: "color images with alpha"}
LIMITATIONS = """\
Use translations as images: as a style, a sketch or a starting point. The model invents detail that it cannot know. A
translation is neither a measurement nor evidence and must not be used as one, least of all in medicine or law. Results
for images unlike the training images are unpredictable. The license of the training data may restrict use."""


def model_card(
    model: Model,
    name: str,
    *,
    on_hub: bool = False,
    license: str | None = None,
    summary: RunSummary | None = None,
    config: Config | None = None,
) -> str:
    """The card of a model that is loaded by `name`: a folder, or with `on_hub` user/name on the Hugging Face hub.

    `summary` adds samples, facts of training and quality; `config` all settings, so it must not name private paths.
    """
    data, direction = model.config.data, model.directions[0]
    channels = {
        domain: CHANNELS.get(count, f"images of {count} channels")
        for domain, count in (("A", data.channels_a), ("B", data.channels_b))
    }
    contents = {domain: f"{model.domains['AB'.index(domain)]}, {images}" for domain, images in channels.items()}
    networks = sorted({".".join(key.split(".")[:2]) for key in model.weights})
    presumably = "presumably " * model.source.startswith("imported")  # files of the authors' code do not say
    license_line = f"license: {license}\n" if license else ""
    parts = [
        f"---\nlibrary_name: cyclegan\n{license_line}pipeline_tag: image-to-image\n"
        f"tags:\n- image-to-image\n- {model.method}\n---",
        f"# {name.rpartition('/')[2]}",
        summary.headline
        if summary
        else f"Image-to-image translation with {model.config.networks.generator}, width "
        f"{model.config.networks.generator_width}; method `{model.method}`, {model.source}.",
        *(f"![{each}]({SAMPLES.format(each)})" for each in (summary.samples if summary else ())),
        "## Use",
        "| direction | input | output |\n| --- | --- | --- |\n"
        + "\n".join(f"| `{each}` | {contents[each[0]]} | {contents[each[-1]]} |" for each in model.directions),
        f"```\npip install git+https://github.com/cyclegan/cyclegan\n"
        f"cyclegan translate {quote(f'hf:{name}' if on_hub else name)} photos/ -o translated/ "
        f"--direction {direction}\n```",
        f"""\
```python
from PIL import Image
from cyclegan import Translator

translator = Translator.{"from_pretrained" if on_hub else "load"}("{name}", direction="{direction}")
translator(Image.open("photo.jpg")).save("translated.png")
```""",
        "Images of any size are accepted"
        + (
            f"; the model was {presumably}trained at {model.trained_scale} pixels (`--size`)"
            * bool(model.trained_scale)
        )
        + ". The networks take and return tensors in [-1, 1]. `model.safetensors` holds "
        f"{', '.join(f'`{network}`' for network in networks)}; `config.json` holds the settings they were built with.",
        f"## Intended use and limitations\n\n{LIMITATIONS}",
    ]
    if summary:
        facts = "\n".join(f"| {heading} | {text} |" for heading, text in summary.facts)
        quality = "\n".join(f"- {sentence}" for sentence in summary.quality)
        parts += [
            f"## Training\n\n| | |\n| --- | --- |\n{facts}",
            f"## Quality\n\n{quality or 'Not measured: there is no ground truth, or `cyclegan evaluate` was not run.'}",
        ]
    if config:
        toml = to_toml(config).strip()
        parts.append(f"## Settings\n\n<details><summary>config.toml</summary>\n\n```toml\n{toml}\n```\n\n</details>")
    return "\n\n".join(parts) + "\n"


def write_model(model: Model, folder: Path, *, overwrite: bool = False, card: str | None = None) -> None:
    """Write a model folder atomically, with `card` or a standard model card as its ``README.md``.

    Raises `UsageError` when the folder exists, unless it is a model and `overwrite` is set, and `CycleGANError` when it
    cannot be written.
    """
    if folder.exists() and not (overwrite and is_model_folder(folder)):
        hint = ", or replace it with --overwrite" if is_model_folder(folder) else ""
        raise UsageError(f"{folder} exists; choose another -o{hint}.")
    content = {
        "format": FORMAT,
        "version": VERSION,
        "settings": model.settings,
        "directions": model.directions,
        "domains": model.domains,
        "trained_size": model.trained_size,
        "value_range": [-1, 1],
        "source": model.source,
    }

    weights = {name: value for name, value in model.weights.items() if not name.startswith("teacher.")}

    def fill(new: Path) -> None:
        save_tensors(weights, new / "model.safetensors")
        (new / "config.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        (new / "README.md").write_text(card or model_card(model, folder.name), encoding="utf-8")

    try:
        replace_folder(folder, fill)
    except (OSError, SafetensorError) as error:
        raise CycleGANError(f"The model {folder} cannot be written: {getattr(error, 'strerror', error)}.") from None


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
    config = read_run(source)  # the card names no folders of this machine
    paths = {n: Path(v.name) for n, v in (vars(config.data) | vars(config.networks)).items() if isinstance(v, Path)}
    config = config.with_settings(**paths, runs=Path("runs"), name=None)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        card = model_card(model, name, on_hub=True, license=license, summary=summary, config=config)
        write_model(model, folder, card=card)
        for direction, samples in summary.samples.items():
            (folder / SAMPLES.format(direction)).write_bytes(samples.read_bytes())
        return upload(folder, name, private=private)
