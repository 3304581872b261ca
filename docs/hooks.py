"""What MkDocs cannot do by itself: pages generated from the code, links to source files, formulas without a script."""

import contextlib
import html
import io
import os
import posixpath
import re
from typing import Any, Literal, get_args, get_origin, get_type_hints

from latex2mathml.converter import convert

from cyclegan.cli.app import COMMANDS, GROUPS
from cyclegan.cli.main import run
from cyclegan.config.presets import PRESETS
from cyclegan.config.schema import SECTIONS, Config, documentation
from cyclegan.methods.specs import BUILTIN

SOURCES = "https://github.com/cyclegan/cyclegan/blob/main/"
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill the generated pages, and let links that leave docs/ lead to the repository."""
    for marker, generate in (("commands", commands), ("settings", settings)):
        before, found, rest = markdown.partition(f"<!-- generated: {marker} -->")
        if found:  # in place of the lines for readers of the file itself
            markdown = before + generate() + rest.partition("<!-- end -->")[2]

    def absolute(match: re.Match[str]) -> str:
        return f"]({SOURCES}{posixpath.normpath(match[1])})"

    return re.sub(r"\]\(\.\./([^)]+)\)", absolute, markdown)


def on_page_content(html_text: str, **_: Any) -> str:
    """Turn formulas into MathML, which browsers draw by themselves."""

    def mathml(match: re.Match[str]) -> str:
        return convert(html.unescape(match[3]), display="inline" if match[2] == "(" else "block")

    return FORMULA.sub(mathml, html_text)


def commands() -> str:
    """The help page of every command, as the terminal shows it."""
    os.environ["COLUMNS"] = "80"
    parts = []
    for title, names in GROUPS.items():
        parts.append(f"## {title}")
        parts += [f"### cyclegan {name}\n\n```text\n{help_page(name)}\n```" for name in names if name in COMMANDS]
    return "\n\n".join(parts)


def help_page(name: str) -> str:
    """What `cyclegan NAME --help` prints."""
    with io.StringIO() as out, contextlib.redirect_stdout(out):
        with contextlib.suppress(SystemExit):
            run([*name.split(), "--help"])
        return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).strip()


def settings() -> str:
    """A table of all settings for each section of ``config.toml``."""
    defaults = Config().flat()
    parts = []
    for section, cls in SECTIONS.items():
        parts.append(f"## {section}\n\n{cls.__doc__}")
        rows = ["| setting | `paper` | others | meaning |", "| --- | --- | --- | --- |"]
        for name, hint in get_type_hints(cls, include_extras=True).items():
            sources = [*PRESETS.items(), *((method, spec.defaults) for method, spec in BUILTIN.items())]
            others = [f"{source} {shown(given[name])}" for source, given in sources if name in given]
            meaning = " ".join(filter(None, (documentation()[name], choices(hint))))
            cells = (f"`{name}`", shown(defaults[name]), ", ".join(others), meaning)
            rows.append(f"| {' | '.join(escaped(cell) for cell in cells)} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def choices(hint: Any) -> str:
    """The values that a type allows, if it names them."""
    if get_origin(hint) is Literal:
        return f"One of {', '.join(map(str, get_args(hint)))}."
    return "".join(choices(each) for each in get_args(hint))


def shown(value: Any) -> str:
    """A value as a reader expects it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "–" if value is None else f"{value}"


def escaped(text: str) -> str:
    """Text for a cell of a table in Markdown."""
    return text if text.startswith("`") else re.sub(r"([|\[\]<>*_])", r"\\\1", text)
