"""`cyclegan app`."""

import os
import tempfile
from pathlib import Path
from typing import Annotated

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command
from cyclegan.cli.serving import is_local, print_tunnel
from cyclegan.cli.settings import OptionalText
from cyclegan.errors import UsageError


@command("app")
def app(
    models: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[RUN ...]", help_behavior_hint="(default: runs)"),
        Doc("Runs, checkpoints, model folders, exports, hf:user/name, or folders of these."),
    ] = ("runs",),
    *,
    host: Annotated[str, Doc("Address to listen on; 0.0.0.0: all networks, which needs --auth.")] = "127.0.0.1",
    port: Annotated[int, Doc("Port; 0 takes a free one.")] = 7860,
    auth: Annotated[OptionalText, Doc("NAME:PASSWORD to ask visitors for; @FILE reads them from a file.")] = None,
) -> None:
    """Try models and train new ones in a browser.

    Ctrl-C stops the app, not the runs that it has started.

    For example
      cyclegan app
      cyclegan app runs/horse2zebra zebra.onnx
      cyclegan app runs --host 0.0.0.0 --auth @password.txt
    """
    password = _password(auth)
    if not is_local(host) and password is None:
        raise UsageError(
            f"--host {host} lets everyone who reaches it read images and start runs; add --auth NAME:PASSWORD."
        )
    from cyclegan.runs.hub import PREFIX

    if models != ("runs",):  # the default is created by the first run
        for path in models:
            if not path.startswith(PREFIX) and not Path(path).exists():
                raise UsageError(f"{path} does not exist; give runs, models, exports or folders of them.")

    from cyclegan.system.optional import optional_import

    for library in ("gradio", "fastapi", "uvicorn"):
        optional_import(library, "app")

    from cyclegan.web.server import address, open_socket, serve

    listener = open_socket(host, port)
    with tempfile.TemporaryDirectory(prefix="cyclegan-app-", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder  # uploads and results, removed at the end

        from cyclegan.web.app.app import build_app

        built = build_app(models, auth=password)
        print(f"The app: {address(listener)}  (Ctrl-C stops it)", flush=True)
        print_tunnel(listener)
        serve(built, listener, host)


def _password(text: str | None) -> tuple[str, str] | None:
    """Name and password of --auth. Raises `UsageError`."""
    if text is None:
        return None
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            raise UsageError(f"--auth {text}: this file cannot be read.") from None
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise UsageError("--auth must be NAME:PASSWORD, or @FILE with that in a file.")
    return name, password
