"""`cyclegan serve`."""

import os
from pathlib import Path
from typing import Annotated

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command
from cyclegan.cli.serving import is_local
from cyclegan.cli.settings import Device, OptionalPath, OptionalText
from cyclegan.errors import UsageError

KEY = "CYCLEGAN_API_KEY"


@command("serve")
def serve(
    models: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="MODEL ...", help_behavior_hint="(required)"),
        Doc("Runs, checkpoints, model folders, exports or hf:user/name; NAME=MODEL sets the name for clients."),
    ],
    *,
    host: Annotated[str, Doc("Address to listen on; 0.0.0.0: all networks.")] = "127.0.0.1",
    port: Annotated[int, Doc("Port; 0 takes a free one.")] = 8000,
    device: Device = "auto",
    memory: Annotated[OptionalText, Doc("Maximum memory to use, such as 2GiB. Default: most of what is free.")] = None,
    max_batch: Annotated[
        str, Doc("Images of equal size to translate at once; auto: 8 on GPUs, 1 on CPUs, which gain nothing.")
    ] = "auto",
    max_upload: Annotated[str, Doc("Largest request.")] = "32MiB",
    max_pixels: Annotated[int, Doc("Pixels of the largest image, before and after scaling.")] = 50_000_000,
    timeout: Annotated[float, Doc("Seconds for an upload, and again for its translation.")] = 60,
    queue: Annotated[int, Doc("Requests that may wait; further ones are told to come back (429).")] = 64,
    api_key_file: Annotated[
        OptionalPath, Doc(f"File with accepted API keys, one per line. Also from the variable {KEY}.")
    ] = None,
    cors: Annotated[
        tuple[str, ...],
        tyro.conf.arg(metavar="ORIGIN ...", help_behavior_hint=""),
        Doc("Origins whose web pages may use the server, such as https://example.org."),
    ] = (),
) -> None:
    """Serve models over HTTP: images in, images out.

    All GPUs share the work. Ctrl-C finishes what is under way.

    For example
      cyclegan serve runs/horse2zebra
      cyclegan serve horses=runs/horse2zebra seasons=runs/seasons --port 80
      curl -F image=@horse.jpg http://127.0.0.1:8000/v1/translate -o zebra.jpg
    """
    if not models:
        raise UsageError("`cyclegan serve` needs MODEL; see `cyclegan serve --help`.")
    for name, value in (("max-pixels", max_pixels), ("timeout", timeout), ("queue", queue)):
        if value <= 0:
            raise UsageError(f"--{name} is {value}; it must be more than 0.")
    if max_batch != "auto" and not (max_batch.isdecimal() and int(max_batch) > 0):
        raise UsageError(f"--max-batch is {max_batch!r}; it must be auto or a number of images.")
    keys = _keys(api_key_file)

    from cyclegan.system.optional import optional_import

    for library in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
        optional_import(library, "serve")

    from cyclegan.server.api import create_app
    from cyclegan.server.models import find_devices, load_models
    from cyclegan.server.run import log_as_json
    from cyclegan.server.run import serve as serve_app
    from cyclegan.server.service import Limits, Service
    from cyclegan.system.text import counted
    from cyclegan.translation.streaming.large_images import parse_bytes
    from cyclegan.web.server import HostCheck, address, open_socket

    limits = Limits(parse_bytes(max_upload), max_pixels, timeout, queue)
    listener = open_socket(host, port)
    loaded = load_models(models, find_devices(device), memory)
    on_gpu = any(each.device.type != "cpu" for model in loaded.values() for each, *_ in model.translators.values())
    service = Service(loaded, limits, int(max_batch) if max_batch != "auto" else 8 if on_gpu else 1)
    app = create_app(service, keys, cors)
    print(
        f"Serving {counted(len(loaded), 'model')} ({', '.join(loaded)}): {address(listener)}  (Ctrl-C stops)",
        flush=True,
    )
    if not is_local(host) and not keys:
        print(f"Everyone who can reach this address can use it; set an API key with {KEY}.", flush=True)
    log_as_json()
    serve_app(HostCheck(app) if is_local(host) else app, service, listener)


def _keys(file: Path | None) -> list[str]:
    """The API keys of the environment and of a file. Raises `UsageError` when that cannot be read, or is empty."""
    keys = os.environ.get(KEY, "").split()
    if file is not None:
        try:
            in_file = file.read_text(encoding="utf-8").split()
        except (OSError, UnicodeError):
            raise UsageError(f"--api-key-file {file} cannot be read; give a text file with one key per line.") from None
        if not in_file:
            raise UsageError(f"--api-key-file {file} has no key; write one per line.")
        keys += in_file
    return keys
