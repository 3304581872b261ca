"""The tab Test images: a run's translations of its own test images, with figures for each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from cyclegan.errors import UsageError
from cyclegan.evaluation.evaluate import evaluation_config
from cyclegan.evaluation.test_set import read_test_set
from cyclegan.imaging.image import to_uint8_image, to_values
from cyclegan.metrics import content, cycle
from cyclegan.metrics.intervals import MetricValue, mean_value
from cyclegan.metrics.similarity import compare_with_ground_truth
from cyclegan.runs.results import METRICS
from cyclegan.web.app.models import Models
from cyclegan.web.app.widgets import follow_model, guarded, note

SHOWN = 24  # images
WORST, BEST, IN_ORDER = "Worst first", "Best first", "In order"


def build_gallery_tab(models: Models) -> gr.Dropdown:
    """The tab's contents, inside a Blocks context. Returns its dropdown of models."""
    with gr.Row(equal_height=True):
        model = gr.Dropdown(label="Run", scale=4, min_width=220, allow_custom_value=True)
        direction = gr.Radio(label="Direction", visible=False, scale=4, min_width=220)
        order = gr.Radio([WORST, BEST, IN_ORDER], value=WORST, label="Order", scale=4, min_width=220)
    show = gr.Button("Translate the test images", variant="primary", elem_id="gallery-go")
    status = gr.HTML(elem_id="gallery-status")
    gallery = gr.Gallery(
        label="Input and translation", columns=3, format="png", object_fit="contain", height="auto", visible=False,
        elem_id="gallery-images",
    )  # fmt: skip

    @guarded(lambda text: (text, gr.update(visible=False)))
    def translate(source: str | None, direction: str | None, order: str, progress: Any = gr.Progress()) -> Any:  # noqa: B008
        progress(None, desc="Translating the test images")
        images, sentence = translated_test_images(models, source, direction, order)
        return note(sentence), gr.update(value=images, visible=True)

    follow_model(models, model, direction)
    gr.on(
        [show.click, order.input], translate, [model, direction, order], [status, gallery],
        concurrency_id="gallery", show_progress_on=[status],
    )  # fmt: skip
    return model


def translated_test_images(
    models: Models, source: str | None, direction: str | None, order: str
) -> tuple[list[tuple[Any, str]], str]:
    """Each test image next to its translation, with a caption of its figures; and a sentence with their means.

    Raises `UsageError` for a model without data, and `CycleGANError` when no image can be read.
    """
    translator = models.load(source, direction)
    assert source is not None
    path = Path(source)
    if not path.is_dir():
        raise UsageError("This model has no test images: only runs know their data.")
    config = evaluation_config(path, None, f"cyclegan resume {source} --data FOLDER")
    images = read_test_set(config, translator.direction, config.data.crop_size, SHOWN)
    fakes = cycle.quantize(images.pasted(translator.translate(images.inputs)))
    visible = content.with_channels(translator.generator.visible_input(images.inputs), fakes.shape[1])
    if images.truth is not None:
        metrics = compare_with_ground_truth(zip(fakes, visible, images.truth, strict=True), ("psnr", "ssim"))
    else:
        metrics = {"edge_agreement": mean_value(content.edge_agreement(visible, fakes).tolist())}
        if len(translator.directions) > 1:
            back = models.load_inverse(source, translator).translate(fakes)
            metrics = {"cycle_error": mean_value(cycle.cycle_errors(images.inputs, back).tolist())} | metrics

    def figures(values: Callable[[MetricValue], float]) -> str:
        return ", ".join(f"{METRICS[key].name} {values(each):.{METRICS[key].digits}f}" for key, each in metrics.items())

    key = next(iter(metrics))
    numbers = list(range(len(fakes)))
    if order != IN_ORDER:
        better_last = METRICS[key].better != "lower"
        numbers.sort(key=metrics[key].per_image.__getitem__, reverse=better_last == (order == BEST))
    shown = []
    for number in numbers:
        caption = f"{images.names[number]}: {figures(lambda each: each.per_image[number])}"  # noqa: B023  (called here)
        shown.append((_side_by_side(visible[number], fakes[number]), caption))
    means = figures(lambda each: each.value)
    return shown, " ".join((f"{' → '.join(images.domains)}, mean of these {len(fakes)}: {means}.", *images.notes))


def _side_by_side(before: Tensor, after: Tensor) -> Any:
    """Two images (C, S, S) in [-1, 1] next to each other, as a Pillow image."""
    both = torch.cat([before, after], 2)
    return to_uint8_image(to_values(both[:3] if len(both) >= 3 else both[:1])).convert("RGB")
