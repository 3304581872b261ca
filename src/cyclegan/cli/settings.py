"""The settings of a run as options of the command line, generated from the schema."""

from collections.abc import Callable, Iterable
from dataclasses import field, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, get_type_hints

import tyro
from typing_extensions import TypedDict

from cyclegan.config.presets import PRESETS, Environment, auto_settings
from cyclegan.config.schema import SECTIONS, Config, documentation

# In place of "(default: None)": the help text says what happens without it.
NO_DEFAULT = tyro.conf.arg(help_behavior_hint="")
OUTPUT = tyro.conf.arg(aliases=["-o"], help_behavior_hint="")
OptionalPath = Annotated[Optional[Path], NO_DEFAULT]
OptionalText = Annotated[Optional[str], NO_DEFAULT]
OptionalInt = Annotated[Optional[int], NO_DEFAULT]
OptionalDirection = Annotated[Optional[str], tyro.conf.arg(metavar="DIRECTION", help_behavior_hint="")]
Switch = Annotated[bool, tyro.conf.FlagCreatePairsOff, NO_DEFAULT]
Device = Annotated[str, tyro.conf.arg(help="Device to run on: auto, cpu, cuda, mps, ...")]

HINTS = {n: h for cls in SECTIONS.values() for n, h in get_type_hints(cls).items() if n != "data"}
OPTIONS = tuple(HINTS)  # DATA is positional
DEFAULTS = Config().flat()
CHOSEN_BY_AUTO = {
    name
    for memory, generator in ((None, "resnet"), (None, "space_to_depth"), (1.0, ""))
    for name in auto_settings(Environment(64, memory), generator)
}
COMMON = {  # what `cyclegan train --help` shows, by task
    "data": ("a", "b", "preprocess", "crop_size", "batch_size"),
    "model": ("method", "generator", "init_from"),
    "length": ("max_minutes", "max_steps", "epochs"),
    "run": ("name", "device", "devices"),
}
BY_SECTION = {title: tuple(vars(section)) for title, section in vars(Config()).items() if title in SECTIONS}

page: Literal["parse", "common", "all"] = "parse"  # set by `main` before the command line is parsed


def settings(
    names: Iterable[str] = OPTIONS, common: dict[str, tuple[str, ...]] = COMMON, default: str | None = None
) -> Callable[[], type]:
    """A factory for the options type: only what the user gives ends up in the parsed dictionary.

    On help pages it is a dataclass instead, grouped, with defaults to show, or `default` for all.
    """

    def make() -> type:
        if page == "parse":
            return TypedDict("Settings", {name: HINTS[name] for name in names}, total=False)  # type: ignore[operator]
        groups = {}
        for title, members in (common if page == "common" else BY_SECTION).items():
            fields = [_help_field(name, default) for name in members if name in names]
            if fields:
                groups[title] = make_dataclass(title, fields)
        sections = [(title, cls, field(default_factory=cls)) for title, cls in groups.items()]
        return make_dataclass("Settings", sections)

    return make


def _help_field(name: str, default: str | None) -> tuple[str, Any, Any]:
    from cyclegan.methods.registry import METHODS
    from cyclegan.networks.registry import DISCRIMINATORS, GENERATORS

    choices = {"method": METHODS.names, "generator": GENERATORS.names, "discriminator": DISCRIMINATORS.names}
    metavar = f"{{{','.join(choices[name]())}}}" if name in choices else "INT|auto" if name == "devices" else None
    if isinstance(DEFAULTS[name], tuple):
        metavar = " ".join([*map(str, DEFAULTS[name][:2]), "..."])
    default = _default(name) if default is None else default
    marks = [tyro.conf.arg(help=documentation()[name], metavar=metavar, help_behavior_hint=default)]
    if isinstance(DEFAULTS[name], bool) and ";" not in default:
        marks.append(tyro.conf.FlagCreatePairsOff)
    if isinstance(DEFAULTS[name], tuple):  # a default of a tuple type would load typeguard
        return name, Annotated[(str, *marks)], field(default="")
    return name, Annotated[(HINTS[name], *marks)], field(default=DEFAULTS[name])


def _default(name: str) -> str:
    """The default of a setting by preset and method: "(default: chosen by auto; paper, fast 256; small 128)"."""
    from cyclegan.methods.specs import BUILTIN

    values: dict[str, list[str]] = {}
    for preset, settings in PRESETS.items():
        values.setdefault(_plain(settings.get(name, DEFAULTS[name])), []).append(preset)
    if name in CHOSEN_BY_AUTO:
        parts = ["chosen by auto", *(f"{', '.join(presets)} {value}" for value, presets in values.items() if value)]
    else:
        parts = [value for value in values if value]
    methods: dict[str, list[str]] = {}
    for method, spec in BUILTIN.items():
        if name in spec.defaults and name != "generator":
            methods.setdefault(_plain(spec.defaults[name]), []).append(method)
    parts += [f"{', '.join(names)} {value}" for value, names in methods.items()]
    return f"(default: {'; '.join(parts)})" if parts else ""


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else " ".join(map(str, value)) if isinstance(value, tuple) else f"{value}"
