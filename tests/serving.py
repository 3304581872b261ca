"""A server in this process, on a free port, for the tests of `cyclegan serve`."""

import io
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from PIL import Image

from cyclegan.config.schema import Config
from cyclegan.networks.generator import build_generator
from cyclegan.runs.model import Model
from cyclegan.runs.publish import write_model


@dataclass
class Running:
    """A server under test: its client, service and log."""

    client: httpx.Client
    service: Any
    log: list[logging.LogRecord]
    stop: Callable[[], None]

    @property
    def address(self) -> tuple[str, int]:
        url = self.client.base_url
        return url.host, url.port or 80


def write_tiny_model(folder: Path) -> Path:
    """A model folder with both directions between red and blue, drawn at random."""
    config = Config().with_settings(generator="resnet", generator_width=8, blocks=1)
    weights = {}
    for name in ("G", "F"):
        torch.manual_seed(ord(name))
        state = build_generator(config.networks, 3, 3).state_dict()
        weights |= {f"generators.{name}.{key}": value for key, value in state.items()}
    settings = {"networks": {"generator": "resnet", "generator_width": 8, "blocks": 1}, "loss": {"method": "cyclegan"}}
    write_model(Model(settings, weights, "drawn", ("red", "blue")), folder)
    return folder


@contextmanager
def serving(
    *sources: str, max_batch: int = 1, keys: tuple[str, ...] = (), origins: tuple[str, ...] = (), **limits: Any
) -> Iterator[Running]:
    from cyclegan.server.api import create_app
    from cyclegan.server.models import load_models
    from cyclegan.server.observe import LOGGER
    from cyclegan.server.run import server
    from cyclegan.server.service import Limits, Service

    service = Service(load_models(sources, ["cpu"]), Limits(**limits), max_batch)
    listener = socket.create_server(("127.0.0.1", 0))
    running = server(create_app(service, keys, origins), service)
    thread = threading.Thread(target=running.run, args=([listener],))
    log: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = log.append  # type: ignore[method-assign]
    LOGGER.handlers, LOGGER.propagate = [handler], False
    LOGGER.setLevel(logging.INFO)

    def stop() -> None:
        running.handle_exit(15, None)

    thread.start()
    host, port = listener.getsockname()
    try:
        with httpx.Client(base_url=f"http://{host}:{port}", timeout=60, trust_env=False) as client:
            yield Running(client, service, log, stop)
    finally:
        stop()
        thread.join(60)
        assert not thread.is_alive()


def encoded(width: int = 40, height: int = 40, kind: str = "PNG", mode: str = "RGB") -> bytes:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).convert(mode).save(file, kind)
    return file.getvalue()
