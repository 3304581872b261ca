"""`cyclegan env`."""

from typing import Annotated

from typing_extensions import Doc

from cyclegan.cli.app import command
from cyclegan.cli.console import print_json
from cyclegan.cli.settings import Switch


@command("env")
def env(*, json: Annotated[Switch, Doc("Print JSON.")] = False) -> None:
    """Show versions, devices, extras and caches.

    For bug reports: it names you or your machine in the caches' paths only.
    """
    from cyclegan.system import environment

    facts, extras = environment.describe_environment(), environment.extras()
    caches = list(environment.caches())
    if json:
        sizes = {name: {"path": str(path), "bytes": size} for name, path, size in caches}
        print_json({"environment": facts, "missing": extras, "caches": sizes})
        return
    width = max(map(len, [*facts, *extras]))
    for name, text in facts.items():
        print(f"{name:<{width}}  {text}")
    print("\nExtras")
    for name, missing in sorted(extras.items()):
        hint = f'needs {", ".join(missing)}: pip install "cyclegan[{name}]"' if missing else "installed"
        print(f"{name:<{width}}  {hint}")
    print("\nCaches, which may be deleted at any time")
    for name, path, size in caches:
        print(f"{name:<{width}}  {size / 2**20:,.1f} MiB in {path}")
    if not caches:
        print("None.")
