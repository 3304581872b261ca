"""What the commands that start a server share."""

import os
import socket


def is_local(host: str) -> bool:
    """Whether an address is that of this machine only."""
    return host in ("127.0.0.1", "::1", "localhost")


def print_tunnel(listener: socket.socket) -> None:
    """In an SSH session, print the command by which the user's own machine reaches a server on 127.0.0.1."""
    host, port = listener.getsockname()[:2]
    if "SSH_CONNECTION" in os.environ and host == "127.0.0.1":
        print(f"On your own machine, first: ssh -L {port}:127.0.0.1:{port} MACHINE", flush=True)
