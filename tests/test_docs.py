"""The documentation names commands, options, files and links that exist."""

import re
from pathlib import Path

import pytest

from cyclegan.cli import main  # noqa: F401  (registers the commands)
from cyclegan.cli.app import COMMANDS, option_names

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
COMMAND = re.compile(r"(?:^|\| |-m )cyclegan (data [a-z]+|[a-z][a-z-]+)(.*)")


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
