"""The app as an ASGI app: its pages by Gradio, and those of `cyclegan watch` below ``/live/``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI

from cyclegan.web.app.guard import Guard
from cyclegan.web.app.models import Models
from cyclegan.web.app.theme import HEAD, theme
from cyclegan.web.app.try_tab import build_try_tab
from cyclegan.web.state import find_runs
from cyclegan.web.watch import STATIC, watch_app

MAX_UPLOAD = "4gb"


def build_app(paths: Sequence[str | Path], *, auth: tuple[str, str] | None = None) -> Any:
    """The app for these runs, models, exports and folders of them. `auth` is a name and password to ask for.

    Who serves it should check the request's host: see `cyclegan.web.server.HostCheck`.
    """
    models = Models(paths)
    folders = [Path(path) for path in paths if Path(path).is_dir()]
    app = FastAPI(title="cyclegan", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/live", watch_app(folders))
    gr.mount_gradio_app(
        app,
        build_pages(models, folders),
        "/",
        theme=theme(),
        css_paths=STATIC / "app.css",
        head=HEAD,
        footer_links=[],
        run_history=False,
        max_file_size=MAX_UPLOAD,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
    )
    return Guard(app, auth)


def build_pages(models: Models, folders: Sequence[Path]) -> gr.Blocks:
    """The tabs."""
    with gr.Blocks(title="cyclegan", fill_width=True, analytics_enabled=False) as pages:
        gr.HTML("<header><p>cyclegan app</p><h1>Translate images, train models</h1></header>", elem_id="top")
        with gr.Tabs(), gr.Tab("Try", id="try") as tab:
            lists = build_try_tab(models)

        def refresh(chosen: str | None, others: Sequence[str]) -> Any:
            choices = models.labels()
            sources = [source for _, source in choices]
            first = chosen or (sources[0] if sources else None)
            return gr.Dropdown(choices=choices, value=first), gr.Dropdown(
                choices=choices, value=[each for each in others or [] if each in sources]
            )

        gr.on([pages.load, tab.select], refresh, lists, lists, show_progress="hidden", queue=False)
    return pages


def count_runs(paths: Sequence[str | Path]) -> int:
    """The number of runs below the paths."""
    return len(find_runs([Path(path) for path in paths if Path(path).is_dir()]))
