"""Parts of the app that several tabs share."""

import html
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from cyclegan.errors import CycleGANError, describe_os_error, explain_out_of_memory
from cyclegan.imaging.image import Pixels, to_uint8_image
from cyclegan.web.app.models import Models, direction_choices

SHOWN = 2048  # pixels of the longer side of images on the page; downloads are complete


def any_image(**settings: Any) -> gr.Image:
    """An image input that hands over its file untouched, for `imaging` to decode or to say what is wrong with it."""
    image = gr.Image(type="filepath", image_mode=None, **settings)
    # Not a subclass: for each, Gradio writes a .pyi file next to the module.
    image.preprocess = lambda payload: None if payload is None else str(payload.path)  # type: ignore[method-assign]
    return image


@contextmanager
def explained() -> Iterator[None]:
    """Convert errors of the system, such as a full disk, to `CycleGANError`; name uploads without their folder."""
    try:
        with explain_out_of_memory("reduce the size, or close other programs"):
            yield
    except (CycleGANError, OSError) as problem:
        text = describe_os_error(problem) if isinstance(problem, OSError) else str(problem)
        raise CycleGANError(re.sub(rf"{re.escape(gr.utils.get_upload_folder())}/(?:\w+/)*", "", text)) from None


def guarded(failed: Callable[[str], Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator of event listeners: after an error the result is `failed` of its sentence as HTML."""

    def decorate(work: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(work)
        def listener(*arguments: Any) -> Any:
            try:
                with explained():
                    return work(*arguments)
            except CycleGANError as problem:
                return failed(note(str(problem), "alert"))

        return listener

    return decorate


def note(text: str, role: str = "status") -> str:
    """A line of text as HTML, which screen readers announce when it changes."""
    return f'<p class="note" role="{role}">{html.escape(text)}</p>' if text else ""


def display_image(pixels: Pixels) -> Image.Image:
    """An image for the page, in 8 bits and not too large."""
    image = to_uint8_image(pixels).convert("RGB")
    image.thumbnail((SHOWN, SHOWN), Image.Resampling.LANCZOS)
    return image


def parse_size(value: float | None) -> Any:
    """The shorter side of a number field, in pixels; "keep" for an empty one."""
    return int(value) if value else "keep"


def result_folder() -> Path:
    """A new folder for a result, which is deleted when the app ends."""
    return Path(tempfile.mkdtemp(dir=gr.utils.get_upload_folder()))


def follow_model(models: Models, model: gr.Dropdown, direction: gr.Radio) -> None:
    """Let `direction` offer the directions of the chosen model; of one that cannot be loaded, say why instead."""
    info = model.info

    def choose(source: str | None) -> Any:
        if not source:
            return gr.update(info=info), gr.update(visible=False)
        try:
            choices = direction_choices(models.load(source))
        except CycleGANError as problem:
            return gr.update(info=str(problem)), gr.update(visible=False)
        return gr.update(info=info), gr.Radio(choices=choices, value=choices[0][1], visible=True)

    model.change(choose, model, [model, direction], show_progress="hidden")
