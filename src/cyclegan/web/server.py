"""A server for one person on this machine: the socket, the check of the request's host, and uvicorn."""

import errno
import ipaddress
import signal
import socket
from collections.abc import Sequence

import uvicorn
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from cyclegan.errors import CycleGANError, UsageError
from cyclegan.system.signals import SIGNALS


class HostCheck:
    """Middleware that refuses requests by other host names than `localhost`, IP addresses and `names`.

    Otherwise a web page elsewhere could read the answers, by a name of its own that leads to this machine (DNS
    rebinding).
    """

    def __init__(self, app: ASGIApp, names: Sequence[str] = ()):
        self.app, self.names = app, {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 421 to a wrong host."""
        if scope["type"] != "http" or self.accepts(Headers(scope=scope).get("host", "")):
            await self.app(scope, receive, send)
        else:
            text = "Open this page by localhost or an IP address, or start the server with this name as --host.\n"
            await PlainTextResponse(text, 421)(scope, receive, send)

    def accepts(self, host: str) -> bool:
        """Whether a Host header, with or without a port, names this server."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        name = name.strip("[]").lower()
        try:
            ipaddress.ip_address(name)
            return True
        except ValueError:
            return name in self.names


def open_socket(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `UsageError` in one sentence when there is none."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OverflowError:
        raise UsageError(f"--port is {port}; it must be from 0 to 65535.") from None
    except socket.gaierror:
        raise UsageError(f"--host {host} is not known on this machine.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"Port {port} of {host} is in use; choose another with --port, or any free one with --port 0."
            ) from None
        raise CycleGANError(f"Port {port} of {host} cannot be opened: {error.strerror}.") from None


def address(listener: socket.socket) -> str:
    """The address that a browser on this machine opens."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # nosec B104: no binding, but an address to show
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def serve(app: ASGIApp, listener: socket.socket, host: str) -> None:
    """Serve until Ctrl-C or SIGTERM, to requests by IP address, `localhost`, this machine's name and `host`."""
    checked = HostCheck(app, [host, socket.gethostname(), socket.getfqdn()])
    config = uvicorn.Config(checked, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    for number in SIGNALS:  # which uvicorn raises again when it has ended, so that nothing after it would be done
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[listener])
