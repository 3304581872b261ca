"""The app as an ASGI app: its pages by Gradio, and those of `cyclegan watch` below ``/live/``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse

from cyclegan.runs.folder import is_training
from cyclegan.web.app.files_tab import build_files_tab
from cyclegan.web.app.gallery_tab import build_gallery_tab
from cyclegan.web.app.guard import Guard
from cyclegan.web.app.models import Models
from cyclegan.web.app.theme import HEAD, theme
from cyclegan.web.app.train_tab import build_train_tab
from cyclegan.web.app.try_tab import build_try_tab
from cyclegan.web.state import find_runs
from cyclegan.web.watch import STATIC, watch_app

MAX_UPLOAD = "4gb"


def build_app(paths: Sequence[str | Path], *, auth: tuple[str, str] | None = None) -> Any:
    """The app for these runs, models, exports and folders of them. `auth` is a name and password to ask for.

    Who serves it should check the request's host: see `cyclegan.web.server.HostCheck`.
    """
    folders = [Path(path) for path in paths if Path(path).is_dir()]
    runs = next((folder for folder in folders if not (folder / "config.toml").exists()), Path("runs"))
    models, watched = Models([*paths, *({runs} - set(folders))]), [*folders, *({runs} - set(folders))]
    app = FastAPI(title="cyclegan", docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/live", watch_app(watched))
    gr.mount_gradio_app(
        app,
        build_pages(models, watched, runs),
        "/",
        theme=theme(),
        css_paths=STATIC / "app.css",
        head=HEAD,
        footer_links=[],
        app_kwargs={"exception_handlers": {OSError: _explain_os_error}},  # or else a full disk ends in a traceback
        run_history=False,
        max_file_size=MAX_UPLOAD,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
    )
    return Guard(app, auth)


def _explain_os_error(request: Request, error: Exception) -> Response:
    """The answer to an upload that cannot be kept; the page shows its text."""
    reason = error.strerror if isinstance(error, OSError) else error
    return PlainTextResponse(f"The app cannot write to its temporary folder: {reason}.", 507)


def build_pages(models: Models, folders: Sequence[Path], runs: Path) -> gr.Blocks:
    """The tabs. `folders` are runs and folders of runs; new runs are created in `runs`."""
    with gr.Blocks(title="cyclegan", fill_width=True, analytics_enabled=False) as pages:
        gr.HTML("<header><p>cyclegan app</p><h1>Translate images, train models</h1></header>", elem_id="top")
        with gr.Tabs():
            with gr.Tab("Try", id="try") as try_tab:
                model, others = build_try_tab(models)
            with gr.Tab("Files", id="files") as files_tab:
                files_model = build_files_tab(models)
            with gr.Tab("Test images", id="images") as gallery_tab:
                gallery_model = build_gallery_tab(models)
            with gr.Tab("Train", id="train") as train_tab:
                run = build_train_tab(folders, runs)

        def refresh(*chosen: str | None) -> Any:
            choices = models.labels()
            return [gr.update(choices=choices, value=each or (choices[0][1] if choices else None)) for each in chosen]

        def refresh_others(chosen: Sequence[str] | None) -> Any:
            choices = models.labels()
            kept = {source for _, source in choices} & {*(chosen or ())}
            return gr.Dropdown(choices=choices, value=[each for each in chosen or () if each in kept])

        def refresh_runs(chosen: str | None) -> Any:
            found = find_runs(folders)
            order = {name: (is_training(run), run.stat().st_mtime) for name, run in found.items()}
            newest = max(order, key=order.__getitem__, default=None)
            return gr.update(choices=list(found), value=chosen if chosen in found else newest)

        models_lists = [model, files_model, gallery_model]
        shown = [pages.load, try_tab.select, files_tab.select, gallery_tab.select]
        gr.on(shown, refresh, models_lists, models_lists, show_progress="hidden", queue=False)
        gr.on(shown[:2], refresh_others, others, others, show_progress="hidden", queue=False)
        gr.on([pages.load, train_tab.select], refresh_runs, run, run, show_progress="hidden", queue=False)
    return pages
