"""The model card: a model's ``README.md`` in Markdown, with the front matter that the Hugging Face hub reads."""

from typing import TYPE_CHECKING

from cyclegan.config.schema import Config
from cyclegan.config.toml import to_toml

if TYPE_CHECKING:
    from cyclegan.runs.model import Model
    from cyclegan.runs.summary import RunSummary

SAMPLES = "samples-{}.png"  # by direction
CHANNELS = {1: "gray images", 2: "gray images with alpha", 3: "color images", 4: "color images with alpha"}
LIMITATIONS = """\
Use translations as images: as a style, a sketch or a starting point. The model invents detail that it cannot know. A
translation is neither a measurement nor evidence and must not be used as one, least of all in medicine or law. Results
for images unlike the training images are unpredictable. The license of the training data may restrict use."""


def model_card(
    model: "Model",
    name: str,
    *,
    on_hub: bool = False,
    license: str | None = None,
    summary: "RunSummary | None" = None,
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
    parts = [
        "\n".join(
            [
                "---",
                "library_name: cyclegan",
                *([f"license: {license}"] if license else []),
                "pipeline_tag: image-to-image",
                f"tags:\n- image-to-image\n- {model.method}",
                "---",
            ]
        ),
        f"# {name.rpartition('/')[2]}",
        summary.headline
        if summary
        else f"Image-to-image translation with {model.config.networks.generator}, width "
        f"{model.config.networks.generator_width}; method `{model.method}`, {model.source}.",
        *(f"![{each}]({SAMPLES.format(each)})" for each in (summary.samples if summary else ())),
        "## Use",
        "| direction | input | output |\n| --- | --- | --- |\n"
        + "\n".join(f"| `{each}` | {contents[each[0]]} | {contents[each[-1]]} |" for each in model.directions),
        f"```\npip install cyclegan\ncyclegan translate {'hf:' if on_hub else ''}{name} photos/ -o translated/ "
        f"--direction {direction}\n```",
        f"""\
```python
from PIL import Image
from cyclegan import Translator

translator = Translator.{"from_pretrained" if on_hub else "load"}("{name}", direction="{direction}")
translator(Image.open("photo.jpg")).save("translated.png")
```""",
        "Images of any size are accepted. The networks take and return tensors in [-1, 1]. `model.safetensors` holds "
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
