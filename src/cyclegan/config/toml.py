"""Settings as TOML text and back."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any, get_args, get_type_hints

from typing_extensions import Doc

from cyclegan.config.schema import Config
from cyclegan.config.validation import validated
from cyclegan.errors import UsageError


def to_toml(config: Config) -> str:
    """The whole configuration as TOML, each setting under a comment with its meaning; unset ones commented out."""
    import tomli_w

    lines = ["# A whole training. `cyclegan train --config FILE` starts it again from this file."]
    for section in dataclasses.fields(config):
        values = getattr(config, section.name)
        lines += ["", f"[{section.name}]  # {(type(values).__doc__ or '').strip()}"]
        for name, hint in get_type_hints(type(values), include_extras=True).items():
            value = getattr(values, name)
            value = str(value) if isinstance(value, Path) else value
            lines.append(f"# {next(m.documentation for m in hint.__metadata__ if isinstance(m, Doc))}")
            lines.append(f"# {name} =" if value is None else tomli_w.dumps({name: value}).strip())
    return "\n".join(lines) + "\n"


def from_toml(path: Path) -> Config:
    """Read a configuration. Settings that are missing take the `paper` preset's value.

    Raises `UsageError` for a file that cannot be read and for unknown, mistyped or contradictory settings.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; --config takes the config.toml of a run folder.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} cannot be read as TOML: {error}.") from None
    try:
        return validated(from_tables(tables))
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def from_tables(tables: dict[str, Any]) -> Config:
    """A configuration from its sections as plain data. Raises `UsageError` for unknown sections and settings."""
    classes = {f.name: f.default_factory for f in dataclasses.fields(Config)}
    sections = {}
    for name, table in tables.items():
        if name not in classes or not isinstance(table, dict):
            raise UsageError(f"there is no section [{name}]; there are {', '.join(classes)}.")
        sections[name] = _section(classes[name], table)
    return Config(**sections)


def _section(cls: Any, table: dict[str, Any]) -> Any:
    hints = get_type_hints(cls)
    for name in table:
        if name not in hints:
            raise UsageError(f"there is no setting named {name}; remove it or correct its name.")
    return cls(**{name: _from_toml(value, hints[name]) for name, value in table.items()})


def _from_toml(value: Any, hint: Any) -> Any:
    """TOML knows no paths."""
    return Path(value) if isinstance(value, str) and Path in (get_args(hint) or (hint,)) else value
