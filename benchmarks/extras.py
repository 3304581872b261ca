"""Installed size of each extra in MiB, beyond what the package itself needs: the table of docs/install.md.

Install what is to be measured first: `pip install -e ".[all,docs,examples,visdom]"`.
"""

import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def closure(lines: Iterable[str], extras: dict[str, list[str]]) -> set[str]:
    """The names of all distributions that requirements need, by themselves and by each other."""
    found: set[str] = set()
    todo = [Requirement(line) for line in lines]
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if name == "cyclegan":
            todo += [Requirement(line) for extra in requirement.extras for line in extras[extra]]
        elif name not in found:
            found.add(name)
            for line in metadata.requires(name) or []:
                needed = Requirement(line)
                if needed.marker is None or any(
                    needed.marker.evaluate({"extra": e}) for e in requirement.extras or {""}
                ):
                    todo.append(needed)
    return found


def size(name: str) -> float:
    """Installed size of a distribution in MiB."""
    files = [Path(str(file.locate())) for file in metadata.files(name) or []]
    return sum(file.stat().st_size for file in files if file.is_file()) / 2**20


if __name__ == "__main__":
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    base = closure(project["dependencies"], extras)
    print(f"the package's dependencies: {sum(map(size, base)):.0f}, {size('torch'):.0f} of them torch")
    for extra in sorted(extras):
        try:
            print(f"{extra}: {sum(map(size, closure([f'cyclegan[{extra}]'], extras) - base)):.0f}")
        except metadata.PackageNotFoundError as error:
            print(f"{extra}: {error.name} is not installed")
