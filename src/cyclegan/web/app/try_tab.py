"""The tab Try: one image, before and after, by one or several models."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from cyclegan.data.select import find_data, require_data
from cyclegan.errors import UsageError
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.encode import write_pixels, written_suffix
from cyclegan.imaging.image import Pixels
from cyclegan.runs.folder import is_model_folder, read_run
from cyclegan.translation.files import scale_note
from cyclegan.translation.translator import Size, Translator
from cyclegan.web.app.models import Models
from cyclegan.web.app.widgets import any_image, display_image, follow_model, guarded, note, parse_size, result_folder

HINT = "Drop an image, paste one, or use the webcam. It is translated as soon as it is there."


def build_try_tab(models: Models) -> list[gr.components.Component]:
    """The tab's contents, inside a Blocks context. Returns its dropdowns of models, which the page keeps up to date."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=4, min_width=300):
            model = gr.Dropdown(label="Model", info="Or type a path, or user/name on the hub.", allow_custom_value=True)
            direction = gr.Radio(label="Direction", visible=False, elem_id="try-direction")
            image = any_image(
                label="Image",
                sources=["upload", "webcam", "clipboard"],
                height=260,
                buttons=[],
                elem_id="try-image",
            )
            with gr.Row():
                example = gr.Button("Use a test image", elem_id="try-example")
                go = gr.Button("Translate", variant="primary", elem_id="try-go")
            with gr.Accordion("Settings", open=False, elem_id="try-settings"):
                size = gr.Number(label="Size", info="Shorter side in pixels. 0: the image's own.", precision=0)
                memory = gr.Textbox(label="Memory", info="Limit, such as 2GiB. Empty: most of what is free.")
                round_trip = gr.Checkbox(label="Round trip", info="Also translate the result back.")
                others = gr.Dropdown(
                    label="Compare with", info="Further models or checkpoints, on the same image.", multiselect=True
                )
        with gr.Column(scale=7, min_width=320):
            status = gr.HTML(note(HINT), elem_id="try-status")
            result = gr.ImageSlider(
                label="Before and after",
                type="filepath",
                format="png",
                interactive=False,
                max_height=640,
                buttons=["fullscreen"],
                elem_id="try-result",
            )
            download = gr.DownloadButton("Download the result", visible=False, elem_id="try-download")
            further = gr.Gallery(
                label="Side by side",
                columns=3,
                format="png",
                visible=False,
                object_fit="contain",
                height="auto",
                buttons=["download", "fullscreen"],
                elem_id="try-further",
            )

    def without_result(text: str) -> Any:
        return None, text, gr.update(visible=False), gr.update(visible=False)

    @guarded(without_result)
    def translate(
        path: str | None,
        source: str | None,
        direction: str | None,
        size: float | None,
        memory: str,
        round_trip: bool,
        others: Sequence[str],
        progress: Any = gr.Progress(),  # noqa: B008  (Gradio finds it by this default)
    ) -> Any:
        if path is None:
            return without_result(note(HINT))
        return translate_image(models, path, source, direction, parse_size(size), memory, round_trip, others, progress)

    @guarded(lambda text: (gr.skip(), *without_result(text)))
    def translate_example(source: str, direction: str, *settings: Any, progress: Any = gr.Progress()) -> Any:  # noqa: B008
        path = example_image(models.load(source, direction))
        return path, *translate(path, source, direction, *settings, progress)

    inputs = [image, model, direction, size, memory, round_trip, others]
    outputs = [result, status, download, further]
    follow_model(models, model, direction)
    example.click(translate_example, inputs[1:], [image, *outputs], concurrency_id="try", show_progress_on=[result])
    gr.on(
        [go.click, image.input, direction.input, round_trip.input],  # of the image, a change would come twice
        translate,
        inputs,
        outputs,
        trigger_mode="always_last",
        concurrency_id="try",
        show_progress_on=[result],
    )
    return [model, others]


def example_image(translator: Translator) -> str:
    """A random test image of the run that a translator was loaded from, as a PNG file.

    Raises `UsageError` when it was loaded from something else, or the data is gone.
    """
    source = translator.source
    if source is None or source.is_file() or is_model_folder(source):
        raise UsageError("This model has no test images: only runs know their data. Choose an image of your own.")
    config = read_run(source)
    require_data(config, source, "cyclegan resume --data FOLDER")
    data = find_data(config).oriented(translator.direction)
    file = random.choice(list(data.test.a or data.train.a))
    target = result_folder() / f"{file.stem}.png"
    write_pixels(read_pixels(file, translator.input_spec), target)
    return str(target)


def translate_image(
    models: Models,
    path: str,
    source: str | None,
    direction: str | None,
    size: Size,
    memory: str,
    round_trip: bool,
    others: Sequence[str],
    progress: Any,
) -> Any:
    """The values of the tab's results: images of the slider, status, download, gallery. Raises `CycleGANError`."""
    progress(None, desc="Loading the model")
    translator = models.load(source, direction, memory)
    assert source is not None
    pixels = read_pixels(Path(path), translator.input_spec)
    shown: list[tuple[Any, str]] = []

    def run(by: Translator, image: Pixels, size: Size = "keep") -> Pixels:
        by.any_size.progress = lambda done, total: progress((done, total), desc="Translating", unit="bands")
        return by.translate(image, size)

    progress(None, desc="Translating")
    after = run(translator, pixels, size)
    before = translator.visible_input(pixels.resize(after.size))
    if others:
        shown.append((display_image(after), models.label(source)))
    for other in others:
        progress(None, desc=f"Translating with {models.label(other)}")
        by = models.load(other, direction, memory)
        shown.append((display_image(run(by, read_pixels(Path(path), by.input_spec), size)), models.label(other)))
    if round_trip:
        progress(None, desc="Translating back")
        back = run(models.load_inverse(source, translator, memory), after)
        if not others:
            shown = [
                (display_image(each), name) for each, name in zip((before, after), translator.domains, strict=True)
            ]
        shown.append((display_image(back), f"and back to {translator.domains[0]}"))
    name = Path(path)
    target = result_folder() / f"{name.stem}-{translator.domains[1]}{written_suffix(name.suffix) or '.png'}"
    write_pixels(after, target)
    width, height = after.size
    sentence = f"{' → '.join(translator.domains)}, {width}×{height} pixels."
    hint = scale_note(translator, [name]) if size == "keep" else None
    if hint:
        sentence += f" {hint.replace(f'{name} has', 'The image has').replace('--size', 'the size')}"
    return (
        (display_image(before), display_image(after)),
        note(sentence),
        gr.update(value=str(target), visible=True),
        gr.update(value=shown, visible=bool(shown)),
    )
