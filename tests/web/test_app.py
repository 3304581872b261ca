"""The app: its models, what guards it, how it translates, and all of it in a browser."""

import base64
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("gradio")

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from conftest import TINY
from cyclegan import Translator
from cyclegan.cli import main
from cyclegan.errors import UsageError
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.image import to_uint8_image
from cyclegan.runs.model import read_model
from cyclegan.runs.publish import write_model
from cyclegan.training.setup import configure
from cyclegan.training.trainer import train
from cyclegan.web.app.guard import Guard
from cyclegan.web.app.models import Models, find_models
from cyclegan.web.app.try_tab import translate_image


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run "red", of two steps, and a model folder."""
    folder = tmp_path_factory.mktemp("runs")
    settings: dict[str, Any] = TINY | {"max_steps": 2, "measure_every": 0}
    train(configure("paper", data=data, runs=folder, name="red", **settings))
    write_model(read_model(folder / "red"), folder / "model")
    return folder


def silent(*_: object, **__: object) -> None:
    """In place of a progress bar."""


def test_runs_checkpoints_and_models_are_found_and_named(runs: Path, tmp_path: Path) -> None:
    found = find_models([runs, "hf:someone/horses", tmp_path])
    assert found["red"] == str(runs / "red") and found["model"] == str(runs / "model")
    assert found["someone/horses"] == "hf:someone/horses"
    assert find_models([runs / "red"])["red"] == str(runs / "red")


def test_a_deleted_model_is_one_sentence(runs: Path) -> None:
    models = Models([runs])
    assert models.load(str(runs / "red")) is models.load(str(runs / "red"))
    with pytest.raises(UsageError, match="gone does not exist"):
        models.load(str(runs / "gone"))
    with pytest.raises(UsageError, match="There is no model yet"):
        models.load(None)


def test_an_image_is_translated_as_by_the_translator_and_back(
    runs: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    source, image = str(runs / "red"), data / "testA" / "00.png"
    arguments = (str(image), source, "AtoB", "keep", "", True, [str(runs / "model")], silent)
    shown, status, download, further = translate_image(Models([runs]), *arguments)  # type: ignore[arg-type]
    translator = Translator.load(source, "AtoB")
    expected = to_uint8_image(translator(read_pixels(image, translator.input_spec)))
    assert "red → blue, 40×40 pixels." in status
    assert shown[0].tobytes() == Image.open(image).tobytes() and shown[1].tobytes() == expected.tobytes()
    assert [caption for _, caption in further["value"]] == ["red", "model", "and back to red"]
    assert Path(download["value"]).name == "00-blue.png"
    assert Image.open(download["value"]).tobytes() == expected.tobytes()


@pytest.fixture
def guarded() -> TestClient:
    routes = [Route("/", lambda request: PlainTextResponse("inside"), methods=["GET", "POST"])]
    return TestClient(Guard(Starlette(routes=routes), ("me", "pass:wörd")))


def test_the_password_is_asked_for(guarded: TestClient) -> None:
    assert guarded.get("/").status_code == 401
    for text, status in (("me:pass:wörd", 200), ("me:other", 401), ("pass:wörd", 401)):
        header = f"Basic {base64.b64encode(text.encode()).decode()}"
        assert guarded.get("/", headers={"Authorization": header}).status_code == status
    assert guarded.get("/", headers={"Authorization": "Basic ?"}).status_code == 401


def test_another_sites_page_can_send_nothing(guarded: TestClient) -> None:
    guarded.headers["Authorization"] = f"Basic {base64.b64encode('me:pass:wörd'.encode()).decode()}"
    assert guarded.post("/").status_code == 200
    assert guarded.post("/", headers={"Origin": "http://testserver"}).status_code == 200
    for origin in ("http://evil.example", "null", "http://testserver.evil.example"):
        assert guarded.post("/", headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0 lets everyone"),
        (["--auth", "secret"], "--auth must be NAME:PASSWORD"),
        (["nowhere"], "nowhere does not exist"),
    ],
)
def test_wrong_usage_is_one_sentence(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        main.run(["app", *words])


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"Port {port} of 127.0.0.1 is in use"):
            main.run(["app", "--port", str(port)])


def test_without_gradio_the_command_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(UsageError, match=r"needs gradio; install it with: pip install 'cyclegan\[app\]'"):
        main.run(["app"])
