"""The documentation names commands, options, files and links that exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import cyclegan
from cyclegan.cli import main  # noqa: F401  (registers the commands)
from cyclegan.cli.app import COMMANDS, option_names
from cyclegan.config.schema import Config

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
COMMAND = re.compile(r"(?:^|\| |-m )cyclegan ((?:data|models) [a-z]+|[a-z][a-z-]+)(.*)")


def commands(text: str) -> list[str]:
    """Lines of code blocks without a language, and inline code."""
    lines, language = [], None
    for line in text.splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
        elif language == "":
            lines.append(line.partition(" #")[0])
        elif language is None:
            lines += re.findall(r"`([^`]+)`", line)
    return lines


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page: Path) -> None:
    for line in commands(page.read_text("utf-8")):
        for name, rest in COMMAND.findall(line):
            if name == "help":
                continue
            assert name in COMMANDS, line
            options = {word.split("=")[0] for word in rest.split() if word.startswith("--")}
            options -= {"--help", "--help-all"}
            known = set(option_names(COMMANDS[name]))
            assert {option.replace("--no-", "--") for option in options} <= known, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text("utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_exist(page: Path) -> None:
    for line in commands(page.read_text("utf-8")):
        for file in re.findall(r"\bpython ((?:benchmarks|examples|docs)/\w+\.py)", line):
            assert (ROOT / file).is_file(), line
        for goal in re.findall(r"^make ([a-z-]+)", line):
            assert re.search(rf"^{goal}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE), line


def test_the_site_has_every_page() -> None:
    nav = re.findall(r"^\s+- ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert sorted(nav) == sorted(page.name for page in (ROOT / "docs").glob("*.md"))


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings")
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    pages = {page.parent.name: page.read_text("utf-8") for page in tmp_path.glob("**/index.html")}
    assert [name for name in COMMANDS if f">cyclegan {name}<" not in pages["cli"]] == []
    assert [name for name in Config().flat() if f">{name}<" not in pages["configuration"]] == []
    assert [name for name in cyclegan.__all__ if name != "__version__" and f'.{name}"' not in pages["api"]] == []
    assert "<math" in pages["from-gan-to-cyclegan"]
    for name, page in pages.items():
        assert "arithmatex" not in page, name
        assert re.findall(r"<(?:script|img|iframe)[^>]*(?:src)=\"?(?:https?:)?//", page) == [], name
        assert re.findall(r"<link(?![^>]*canonical)[^>]*href=\"?(?:https?:)?//", page) == [], name
