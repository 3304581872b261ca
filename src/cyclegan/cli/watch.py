"""`cyclegan watch`."""

from pathlib import Path
from typing import Annotated

import tyro
from typing_extensions import Doc

from cyclegan.cli.app import command
from cyclegan.cli.serving import is_local, print_tunnel
from cyclegan.errors import UsageError


@command("watch")
def watch(
    runs: Annotated[
        tuple[Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[RUN ...]", help_behavior_hint="(default: runs)"),
        Doc("Run folders, or folders of runs, in which new runs appear by themselves."),
    ] = (Path("runs"),),
    *,
    host: Annotated[str, Doc("Address to listen on; 0.0.0.0: all networks.")] = "127.0.0.1",
    port: Annotated[int, Doc("Port; 0 takes a free one.")] = 6007,
) -> None:
    """Show runs live in a browser: curves, images, warnings.

    It works while a run trains and afterwards. Ctrl-C stops it, not the run.

    From another machine, through SSH: ssh -L 6007:127.0.0.1:6007 MACHINE

    For example
      cyclegan watch runs/horse2zebra
      cyclegan watch runs/first runs/second --port 8000
    """
    from cyclegan.system.optional import optional_import

    for library in ("starlette", "uvicorn"):
        optional_import(library, "watch")

    from cyclegan.system.text import counted
    from cyclegan.web.server import address, open_socket, serve
    from cyclegan.web.state import find_runs
    from cyclegan.web.watch import watch_app

    for path in runs:
        if not path.is_dir() or (path / "state.json").is_file() or (path / "config.json").is_file():
            raise UsageError(f"{path} is not a run folder; give one such as runs/NAME, or a folder of runs.")
    found = find_runs(runs)
    listener = open_socket(host, port)
    url = address(listener)
    print(f"Watching {counted(len(found), 'run')}: {url}  (Ctrl-C stops)", flush=True)
    print_tunnel(listener)
    if not is_local(host):
        print("Everyone who can reach this address can see these runs: there is no password.", flush=True)
    serve(watch_app(runs), listener, host)
