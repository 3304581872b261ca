"""Settings as TOML text and back."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from cyclegan.config.schema import SECTIONS, Config, documentation
from cyclegan.config.validation import validate
from cyclegan.errors import UsageError, suggestion

SOURCE = re.compile(r"^(?:# )?(\w+) =.*  # from (.+)$", re.MULTILINE)


def to_toml(config: Config) -> str:
    """The whole configuration as TOML: each setting under its meaning, and followed by where its value came from.

    Unset settings are commented out.
    """
    import tomli_w

    lines = ["# The settings of a run. `cyclegan train --config FILE` starts another run with them."]
    for name, cls in SECTIONS.items():
        lines += ["", f"[{name}]  # {(cls.__doc__ or '').strip()}"]
        for setting, value in vars(getattr(config, name)).items():
            plain = str(value) if isinstance(value, Path) else value
            if isinstance(value, tuple):
                text = f"{setting} = [{', '.join(tomli_w.dumps({'': each})[5:].strip() for each in value)}]"
            else:
                text = f"# {setting} =" if value is None else tomli_w.dumps({setting: plain}).strip()
            source = config.sources.get(setting)
            lines += [f"# {documentation()[setting]}", text + (f"  # from {source}" if source else "")]
    return "\n".join(lines) + "\n"


def from_toml(path: Path) -> Config:
    """Read a configuration. Settings that are missing have the paper's values.

    Raises `UsageError` for a file that cannot be read and for unknown, mistyped or contradictory settings.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tables = tomllib.loads(text)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; --config takes the config.toml of a run folder.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read as TOML: {error}.") from None
    try:
        return validate(from_tables(tables, dict(SOURCE.findall(text))))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def from_tables(tables: dict[str, Any], sources: dict[str, str] | None = None) -> Config:
    """A configuration from its sections as plain data, not validated. Raises `UsageError` for unknown names."""
    sections = {}
    for name, table in tables.items():
        if name not in SECTIONS or not isinstance(table, dict):
            raise UsageError(f"unknown section [{name}]; the sections are {', '.join(SECTIONS)}.")
        names = [field.name for field in fields(SECTIONS[name])]
        for setting in table.keys() - set(names):
            raise UsageError(f"unknown setting {setting}{suggestion(setting, names)}")
        sections[name] = SECTIONS[name](**table)
    return Config(**sections, sources=sources or {})
