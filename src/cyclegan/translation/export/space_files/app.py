"""A page that translates images with the model in this folder."""

import os
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr
import numpy as np
import onnxruntime
from PIL import Image, ImageOps

MAX_PIXELS = 1_000_000  # larger images are scaled down, so that a small machine can translate them

session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"), providers=["CPUExecutionProvider"])
model = session.get_modelmeta().custom_metadata_map


def translate(image: Image.Image | None) -> tuple[Image.Image, Image.Image] | None:
    """The image as the model gets it, and its translation; both have the same size."""
    if image is None:
        return None
    image = ImageOps.exif_transpose(image)
    if "A" in image.getbands() or "transparency" in image.info:
        color = Image.new("RGBA", image.size, model["background"])
        image = Image.alpha_composite(color, image.convert("RGBA"))
    image = image.convert("L" if model["in_channels"] == "1" else "RGB")
    scale = (MAX_PIXELS / (image.width * image.height)) ** 0.5
    if scale < 1:
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
    pixels = np.asarray(image, np.float32).reshape(image.height, image.width, -1) / 127.5 - 1
    (result,) = session.run(["translated"], {"images": pixels.transpose(2, 0, 1)[None]})
    levels = ((result[0].clip(-1, 1) + 1) * 127.5).round().astype(np.uint8).transpose(1, 2, 0)
    return image, Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)


title = f"{model['domain_in']} → {model['domain_out']}"
with gr.Blocks(title=title, analytics_enabled=False) as page:
    gr.Markdown(f"# {title}\nDrop an image, paste one, or use the webcam. Trained at {model['trained_size']} pixels.")
    with gr.Row():
        given = gr.Image(label="Image", type="pil", image_mode=None, sources=["upload", "webcam", "clipboard"])
        result = gr.ImageSlider(label="Before and after", format="png", interactive=False)
    given.change(translate, given, result, api_name="translate")

if __name__ == "__main__":
    page.launch(theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]))
