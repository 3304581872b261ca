"""What stands before the app: a password, no writing requests from other pages, nothing loaded from elsewhere."""

import base64
import binascii
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Gradio's page has inline scripts, styles and workers.
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; frame-ancestors 'self'; form-action 'self'; "
    "base-uri 'self'; object-src 'none'"
)


class Guard:
    """Middleware: asks for a name and password, if given, and keeps browsers from sending or loading across sites."""

    def __init__(self, app: ASGIApp, auth: tuple[str, str] | None = None):
        self.app, self.auth = app, auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 without the password, and 403 to a request that another site's page makes."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self.auth is not None and not self._knows_password(headers.get("authorization", "")):
            challenge = {"WWW-Authenticate": 'Basic realm="cyclegan", charset="UTF-8"'}
            answer = PlainTextResponse("This page needs the name and password of --auth.\n", 401, challenge)
            await answer(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD") and not _same_origin(headers):
            await PlainTextResponse("Requests from other sites are refused.\n", 403)(scope, receive, send)
        else:
            await self.app(scope, receive, _with_policy(send))

    def _knows_password(self, header: str) -> bool:
        assert self.auth is not None
        kind, _, encoded = header.partition(" ")
        try:
            given = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            return False
        return kind.lower() == "basic" and secrets.compare_digest(given, ":".join(self.auth).encode())


def _same_origin(headers: Headers) -> bool:
    """Whether a request comes from a page of this server, or from no page at all."""
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _with_policy(send: Send) -> Send:
    async def send_with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent = MutableHeaders(scope=message)
            sent.setdefault("Content-Security-Policy", POLICY)
            sent.setdefault("X-Content-Type-Options", "nosniff")
            sent.setdefault("Referrer-Policy", "no-referrer")
        await send(message)

    return send_with_policy
