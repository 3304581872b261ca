"""The pages of `cyclegan app`, with Gradio (extra `app`)."""

from cyclegan.system.optional import optional_import

optional_import("gradio", "app")  # first, so that no module here imports it with its analytics
