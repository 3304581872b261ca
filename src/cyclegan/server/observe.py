"""What operators see of requests: one line of JSON each, and metrics; never an image, or the name of a file."""

import json
import logging
import re
import time
import traceback
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cyclegan.server.metrics import Metrics
from cyclegan.server.problems import Problem

LOGGER = logging.getLogger("cyclegan.server")
QUIET = ("/healthz", "/readyz", "/metrics")  # asked every few seconds
CLIENT_GONE = 499  # in logs and metrics, as other servers have it
_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


class JsonFormatter(logging.Formatter):
    """Records as lines of JSON: time, level, event, and the fields in ``extra={"fields": ...}``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {"time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), "level": record.levelname.lower()}
        line |= {"event": record.getMessage()} | getattr(record, "fields", {})
        return json.dumps(line)


class Observer:
    """Middleware: gives requests an id, logs and counts them, and answers 500 where the app fails to answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status, sent = time.perf_counter(), 0, 0
        given = Headers(scope=scope).get("x-request-id", "")
        name = given if _ID.fullmatch(given) else uuid.uuid4().hex
        fields: dict[str, Any] = scope.setdefault("state", {}).setdefault("fields", {})

        async def observed(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = name
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, observed)
        except Exception as error:  # an error of the program; its client learns nothing but the id
            fields["traceback"] = "".join(traceback.format_exception(error))
            if not status:
                text = f"An error of the server, which its log describes for the request {name}."
                await Problem("internal-error", text).response()(scope, receive, observed)
        finally:
            seconds, path = time.perf_counter() - start, getattr(scope.get("route"), "path", "other")
            status = status or CLIENT_GONE
            self.metrics.requests.labels(path, status).inc()
            self.metrics.seconds.labels(path).observe(seconds)
            summary = {"id": name, "method": scope["method"][:16], "path": path, "status": status}
            summary |= {"ms": round(1000 * seconds, 1), "bytes_out": sent} | fields
            level = logging.ERROR if "traceback" in fields else logging.DEBUG if path in QUIET else logging.INFO
            LOGGER.log(level, "request", extra={"fields": summary})
