"""The authors' released models: the catalog, and their download from a local server."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from PIL import Image

from cyclegan import Translator
from cyclegan.cli.data_get import DownloadProgress
from cyclegan.cli.main import run
from cyclegan.config.schema import NetworkConfig
from cyclegan.errors import CycleGANError, UsageError
from cyclegan.networks.generator import build_generator
from cyclegan.networks.reference_weights import describe, to_reference
from cyclegan.runs.released import RELEASED, SERVER, get_model


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Write a generator's weights as the authors do, and return the address of a server that has them."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.chdir(tmp_path)

    def serve(file: str) -> str:
        config = NetworkConfig(generator_width=4)
        state = build_generator(config, 3, 3).state_dict()
        torch.save(to_reference(state, describe(state, "generator", config)), folder / file)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.network
def test_a_released_model_is_downloaded_as_a_model_folder(
    mirror: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["models", "get", "horse2zebra", "--mirror", mirror("horse2zebra.pth")]
    run(words)
    out = capsys.readouterr().out
    assert "horse2zebra.pth: resnet_9blocks, width 4, channels 3 to 3, norm instance." in out
    assert "this first download was trusted" in out and "License: none stated" in out and "ICCV 2017" in out
    assert "cyclegan translate models/horse2zebra INPUT" in out
    assert [path.name for path in Path("models").iterdir()] == ["horse2zebra"]
    translator = Translator.load("models/horse2zebra", direction="horse2zebra")
    assert translator(Image.new("RGB", (32, 20))).size == (32, 20)
    assert "license none stated" in Path("models/horse2zebra/README.md").read_text()
    run(words)
    assert "already there" in capsys.readouterr().out


@pytest.mark.network
def test_files_that_changed_or_hold_code_are_refused(mirror: Callable[[str], str], tmp_path: Path) -> None:
    address = mirror("horse2zebra.pth")
    local = replace(RELEASED["horse2zebra"], url=f"{address}/horse2zebra.pth")
    progress = DownloadProgress("horse2zebra")
    get_model(local, Path("models/horse2zebra"), progress)
    mirror("horse2zebra.pth")  # with other weights
    with pytest.raises(CycleGANError, match=r"has SHA-256 .* but the first download had"):
        get_model(local, Path("models/again"), progress)
    torch.save({"weight": Path}, tmp_path / "served" / "evil.pth")
    evil = replace(local, name="evil", url=f"{address}/evil.pth")
    with pytest.raises(CycleGANError, match=r"cannot be used .*that could execute code.*import-weights"):
        get_model(evil, Path("models/evil"), progress)
    assert [path.name for path in Path("models").iterdir()] == ["horse2zebra"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["zebra2hors"], "Unknown model 'zebra2hors'; see `cyclegan models list`. Did you mean zebra2horse"),
        (["day2night"], "Did you mean pix2pix-day2night"),
        (["horse2zebra", "--mirror", "here"], "--mirror here is not an address"),
        (["horse2zebra", "-o", "."], r"\. exists; remove it, or choose another folder with -o"),
    ],
)
def test_wrong_arguments_are_explained(words: list[str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        run(["models", "get", *words])


def test_the_catalog_is_listed_within_80_columns_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    run(["models", "list"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines[1 : len(RELEASED) + 1]] == list(RELEASED)
    run(["models", "list", "--json"])
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert entries["pix2pix-sat2map"]["url"] == f"{SERVER}/pix2pix/models-pytorch/sat2map.pth"
    assert entries["horse2zebra"]["url"] == f"{SERVER}/cyclegan/pretrained_models/horse2zebra.pth"
    assert entries["style_monet"]["domains"] == ["photo", "monet"]
