"""The project's metadata: extras, addresses, versions and constraints fit each other."""

import re
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from cyclegan import __version__

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
HOME, SITE = PROJECT["urls"]["Repository"], PROJECT["urls"]["Documentation"]


def extras_in(requirements: list[str]) -> set[str]:
    return {
        extra for line in requirements for extra in re.findall(r"cyclegan\[(.*)\]", line) for extra in extra.split(",")
    }


def test_all_and_dev_consist_of_extras() -> None:
    for_users = EXTRAS.keys() - {"all", "dev", "docs", "examples"}
    assert extras_in(EXTRAS["all"]) == for_users - {"cloud", "ray", "visdom"}
    assert extras_in(EXTRAS["dev"]) <= EXTRAS.keys()


def test_the_documentation_has_a_size_for_every_extra() -> None:
    rows = re.findall(
        r"^\| (`.*`) \| .* \| ([\d, ]+) \|$", (ROOT / "docs" / "install.md").read_text("utf-8"), re.MULTILINE
    )
    sizes = {
        extra: size for names, given in rows for extra, size in zip(names.split(", "), given.split(", "), strict=True)
    }
    assert {name.strip("`") for name in sizes} == EXTRAS.keys()


def test_every_extra_named_in_a_message_exists() -> None:
    files = [*ROOT.glob("src/**/*.py"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]
    named = {extra for file in files for extra in re.findall(r"cyclegan\[([a-z0-9,]+)\]", file.read_text("utf-8"))}
    assert named and {extra for group in named for extra in group.split(",")} <= EXTRAS.keys()


def test_the_citation_has_this_version() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


def test_addresses_of_the_project_are_everywhere_the_same() -> None:
    files = [*ROOT.glob("*.md"), *ROOT.glob("*.cff"), *ROOT.glob("docs/*.md"), *ROOT.glob(".github/**/*.*")]
    for file in files:
        text = file.read_text("utf-8")
        for address in re.findall(
            r"https://(?:github\.com|raw\.githubusercontent\.com|[\w-]+\.github\.io)/[^\s)\"'`>]*", text
        ):
            if "cyclegan" in address.lower().split("/")[3:5]:
                raw = HOME.replace("github.com", "raw.githubusercontent.com")
                assert address.startswith((HOME, SITE.rstrip("/"), raw)), (file, address)


def test_links_of_the_readme_are_absolute_and_lead_to_files_and_pages() -> None:
    """A package index shows the README without the repository around it."""
    text = (ROOT / "README.md").read_text("utf-8")
    links = re.findall(r"(?:\]\(|<(?!img)|src=\")([^)\s>\"]+)[)>\"]", text)
    assert links and all(link.startswith("https://") for link in links)
    raw = HOME.replace("github.com", "raw.githubusercontent.com")
    colab = HOME.replace("https://", "https://colab.research.google.com/").replace("github.com", "github")
    for link in links:
        for start in (f"{HOME}/blob/main/", f"{raw}/main/", f"{colab}/blob/main/"):
            if link.startswith(start):
                assert (ROOT / link.removeprefix(start)).is_file(), link
        if link.startswith(SITE):
            assert (ROOT / "docs" / f"{link.removeprefix(SITE).rstrip('/') or 'index'}.md").is_file(), link


def test_constraints_pin_every_dependency() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {re.split(r"==", line)[0].replace("_", "-").lower() for line in lines}
    direct = [line for name in ("docs", "video", "export", "edges", "deep", "wandb", "dev") for line in EXTRAS[name]]
    for requirement in [*PROJECT["dependencies"], *direct]:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert name[0] == "cyclegan" or name[0].lower() in pinned, requirement


def test_the_lock_file_has_the_hashes_of_the_constraints() -> None:
    locked = (ROOT / "requirements.lock").read_text("utf-8")
    pins = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert len(pins) > 100
    assert [pin for pin in pins if f"\n{pin} \\\n    --hash=sha256:" not in f"\n{locked}"] == []


def test_workflows_and_their_neighbors_are_valid_yaml_without_secrets() -> None:
    if find_spec("yaml") is None:
        pytest.skip("needs the extra docs")
    import yaml

    for file in [*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml", ROOT / "CITATION.cff"]:
        text = file.read_text("utf-8")
        assert isinstance(yaml.safe_load(text), dict), file
        assert "secrets." not in text, file


def test_the_matrix_has_the_versions_that_the_package_declares() -> None:
    declared = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line]
    matrix = re.search(r"python: \[(.*)\]", (ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8"))
    assert matrix is not None and matrix[1].replace('"', "").split(", ") == declared
