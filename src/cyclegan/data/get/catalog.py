"""The catalog of public data sets: descriptions, URLs, sizes, terms and citations, read from catalog.toml."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import Literal

from cyclegan.errors import UsageError
from cyclegan.system.plugins import load_plugin, plugin_names

GROUP = "cyclegan.datasets"  # entry points of other packages, each an `Entry`
Layout = Literal["unpaired", "paired", "photos"]


@dataclass(frozen=True)
class Entry:
    """A named data set.

    Layouts: "unpaired" has trainA and trainB (testA and testB); "paired" has train, val and test with two images side
    by side in each file; "photos" are for translation, not for training.
    """

    name: str
    description: str
    terms: str
    citation: str
    size: int = 0  # of the archive in bytes, approximately
    urls: tuple[str, ...] = ()  # in the order in which they are tried
    sha256: str | None = None  # None if not published
    layout: Layout = "unpaired"
    instructions: str = ""  # how to get the data set, if it has no URLs


_TABLES = tomllib.loads(files(__package__).joinpath("catalog.toml").read_text(encoding="utf-8"))
CITATIONS: dict[str, str] = _TABLES["citations"]  # by paper


def _read_catalog() -> Iterator[Entry]:
    for name, fields in _TABLES["datasets"].items():
        templates = _TABLES["urls"].get(fields.pop("urls", None), [])
        urls = tuple(url.format(name=name.removeprefix("pix2pix-")) for url in templates)
        citation = "; ".join(CITATIONS[key] for key in fields.pop("citations"))
        yield Entry(name=name, citation=citation, urls=urls, **fields)


CATALOG = {entry.name: entry for entry in _read_catalog()}


def all_entries() -> dict[str, Entry]:
    """The catalog by name, with the entries of other packages. Raises `CycleGANError` if one cannot be loaded."""
    return CATALOG | {name: load_plugin(GROUP, name) for name in plugin_names(GROUP)}


def find_entry(name: str) -> Entry:
    """The data set with this name. Raises `UsageError` with similar names if there is none."""
    if entry := CATALOG.get(name) or load_plugin(GROUP, name):
        return entry
    entries = [*CATALOG, *plugin_names(GROUP)]
    near = [each for each in entries if each.removeprefix("pix2pix-") == name]
    near += [each for each in get_close_matches(name.lower(), entries) if each not in near]
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    raise UsageError(f"Unknown data set {name!r}; see `cyclegan data list`.{meant}")
