"""Serving an app until a signal comes: uvicorn, with a time limit for requests to arrive, and logs as JSON."""

import asyncio
import logging
import signal
import socket
from types import FrameType

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from cyclegan.server.observe import LOGGER, JsonFormatter
from cyclegan.server.service import Service
from cyclegan.system.signals import SIGNALS

SPARE = 2.0  # seconds after which a connection is closed whose request the app has not answered as too slow


def serve(app: ASGIApp, service: Service, listener: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM; requests that are under way are finished first, within their time limit."""
    for number in SIGNALS:  # which uvicorn raises again when it has ended, as it was asked to
        signal.signal(number, lambda *_: None)
    server(app, service).run(sockets=[listener])


def server(app: ASGIApp, service: Service) -> uvicorn.Server:
    """The server of an app."""
    config = uvicorn.Config(
        app,
        http=type("Protocol", (ImpatientProtocol,), {"seconds": service.limits.seconds + SPARE}),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=round(service.limits.seconds) + 1,
    )
    return _Server(config, service)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self.service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Tell load balancers, then end."""
        if not self.service.draining:
            LOGGER.info("stopping", extra={"fields": {"signal": signal.Signals(sig).name}})
        self.service.draining = True
        super().handle_exit(sig, frame)


class ImpatientProtocol(H11Protocol):
    """Closes connections of which a request does not arrive whole within some seconds, from its first byte or none."""

    seconds = 60.0
    timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._start()

    def data_received(self, data: bytes) -> None:
        """Stop waiting when a request is complete."""
        super().data_received(data)
        has_part = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])  # of the headers
        if not (has_part or self.conn.their_state is h11.SEND_BODY):
            self._stop()
        elif self.timer is None:
            self._start()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)

    def _start(self) -> None:
        self.timer = self.loop.call_later(self.seconds, self.transport.close)

    def _stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def log_as_json(handler: logging.Handler | None = None) -> None:
    """Log requests and uvicorn's warnings to standard error, or a handler, one line of JSON each."""
    handler = handler or logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for logger, level in ((LOGGER, logging.INFO), (logging.getLogger("uvicorn"), logging.WARNING)):
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
