"""The page of `cyclegan watch` as an ASGI app, which another app may mount: it has relative addresses only."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cyclegan.errors import CycleGANError
from cyclegan.web.state import describe_run, find_runs, sample_file, summarize_run

STATIC = Path(__file__).parent / "static"
TYPES = {"watch.html": "text/html", "watch.css": "text/css", "watch.js": "text/javascript"}
PAGE_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
FOREVER = "private, max-age=31536000, immutable"  # for addresses with the file's time of change


def watch_app(paths: Sequence[Path]) -> Starlette:
    """The app for these runs and folders of runs. It serves their known files only, and writes nothing.

    Who serves it should check the request's host: see `cyclegan.web.server.HostCheck`.
    """

    def get_run(request: Request) -> tuple[str, Path]:
        name = request.path_params["name"]
        run = find_runs(paths).get(name)
        if run is None:
            raise HTTPException(404, f"There is no run {name}.")
        return name, run

    def page(request: Request) -> Response:
        return FileResponse(STATIC / "watch.html", headers={"Content-Security-Policy": PAGE_POLICY})

    def static(request: Request) -> Response:
        file = request.path_params["file"]
        if file not in TYPES:
            raise HTTPException(404, "Not found.")
        return FileResponse(STATIC / file, media_type=TYPES[file])

    def runs(request: Request) -> Response:
        found = find_runs(paths)
        given = [str(path) for path in paths]
        return _json(request, {"runs": [summarize_run(*each) for each in found.items()], "given": given})

    def run(request: Request) -> Response:
        try:
            return _json(request, describe_run(*get_run(request)))
        except CycleGANError as error:
            raise HTTPException(404, str(error)) from None

    def sample(request: Request) -> Response:
        file = sample_file(get_run(request)[1], request.path_params["file"])
        if file is None:
            raise HTTPException(404, "There is no such sample image.")
        return FileResponse(file, media_type="image/png", headers={"Cache-Control": FOREVER})

    def report(request: Request) -> Response:
        file = get_run(request)[1] / "report.html"
        if not file.is_file():
            raise HTTPException(404, "This run has no report yet.")
        return FileResponse(file, headers={"Content-Security-Policy": REPORT_POLICY})

    routes: list[tuple[str, Callable[[Request], Response]]] = [
        ("/", page),
        ("/static/{file}", static),
        ("/api/runs", runs),
        ("/api/runs/{name}", run),
        ("/runs/{name}/samples/{file}", sample),
        ("/runs/{name}/report.html", report),
    ]
    return Starlette(
        routes=[Route(path, endpoint) for path, endpoint in routes],
        middleware=[Middleware(SafeHeaders), Middleware(GZipMiddleware)],
        exception_handlers={HTTPException: _explain},
    )


class SafeHeaders:
    """Middleware: no guessing of types, no use by other pages, and no caching unless an answer says so."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the answer."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers.setdefault("Cache-Control", "no-cache")
                headers.setdefault("Content-Security-Policy", "default-src 'none'")
            await send(message)

        await self.app(scope, receive, send_with_headers)


def _json(request: Request, content: Any) -> Response:
    """The content as JSON, or 304 if the browser has it."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    tag = f'W/"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    if request.headers.get("If-None-Match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    return Response(text, media_type="application/json", headers={"ETag": tag})


def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code)
