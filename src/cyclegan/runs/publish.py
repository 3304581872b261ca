"""A trained model for others: the model folder, with a card that tells what it learned, from what, and how well."""

import tempfile
from pathlib import Path

from cyclegan.config.schema import Config
from cyclegan.config.toml import to_toml
from cyclegan.runs.folder import read_run
from cyclegan.runs.hub import upload
from cyclegan.runs.model import front_matter, is_model_folder, read_model, write_model
from cyclegan.runs.summary import RunSummary, summarize

SAMPLES = "samples-{}.png"

USE = """\
Pictures of the kind it learned from, as a style, a sketch or a starting point. It invents what it does not know: a
translation is no measurement and no evidence, and must not stand for one, least of all in medicine or law. Pictures
unlike those of the training come out arbitrarily. The terms of the training data may bind its use.
"""


def publish(source: Path, name: str, *, private: bool = False) -> str:
    """Upload a run or a model to the Hugging Face hub as ``user/name`` and return its address.

    A run goes with a card of its settings, data, quality and samples; a model folder goes as it is. Raises
    `UsageError` and `CycleGANError`.
    """
    if is_model_folder(source):
        return upload(source, name, private=private)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / name.rpartition("/")[2]
        write_published(source, folder, name)
        return upload(folder, name, private=private)


def write_published(run: Path, folder: Path, name: str) -> None:
    """Write the model folder of a run with its card and its newest samples. `name` is the one on the hub."""
    model, summary = read_model(run), summarize(run)
    write_model(model, folder)
    for direction, picture in summary.samples.items():
        (folder / SAMPLES.format(direction)).write_bytes(picture.read_bytes())
    (folder / "README.md").write_text(card(name, model.directions[0], summary, read_run(run)), encoding="utf-8")


def card(name: str, direction: str, summary: RunSummary, config: Config) -> str:
    """The model card in Markdown, with the front matter that the hub reads."""
    samples = "\n\n".join(f"![{d}]({SAMPLES.format(d)})" for d in summary.samples)
    facts = "\n".join(f"| {heading} | {words} |" for heading, words in summary.facts)
    quality = "\n".join(f"- {sentence}" for sentence in summary.quality) or (
        "Not measured: the truth of the test images is not known."
    )
    return f"""\
{front_matter(config.loss.method)}
# {name.rpartition("/")[2]}

{summary.lead}

{samples}

## Use

```
pip install cyclegan
cyclegan translate hf:{name} photos/ -o translated/ --direction {direction}
```

```python
from PIL import Image
from cyclegan import Translator

translator = Translator.from_pretrained("{name}", direction="{direction}")
translator.translate(Image.open("photo.jpg")).save("translated.png")
```

Pictures may have any size.

## What it is for

{USE}
## Training

| | |
| --- | --- |
{facts}

## Quality

{quality}

## All settings

<details><summary>config.toml</summary>

```toml
{to_toml(_without_places(config)).strip()}
```

</details>
"""


def _without_places(config: Config) -> Config:
    """The settings without the paths of the machine that it was trained on."""
    places = {n: Path(v.name) for n, v in vars(config.data).items() if isinstance(v, Path)}
    start = config.networks.init_from
    return config.with_settings(**places, runs=Path("runs"), init_from=Path(start.name) if start else None, name=None)
