"""The app: its models, what guards it, how it translates, and all of it in a browser."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from conftest import TINY, start, wait_until
from cyclegan import Translator
from cyclegan.cli import main
from cyclegan.errors import UsageError
from cyclegan.imaging.decode import read_pixels
from cyclegan.imaging.image import to_uint8_image
from cyclegan.runs.folder import PROCESS_FILE, is_training, stop_run
from cyclegan.runs.model import read_model
from cyclegan.runs.publish import write_model
from cyclegan.training.setup import configure
from cyclegan.training.trainer import train
from cyclegan.web.app.app import build_app
from cyclegan.web.app.guard import Guard
from cyclegan.web.app.models import Models, find_models
from cyclegan.web.app.try_tab import translate_image


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run "red", of two steps, and a model folder."""
    folder = tmp_path_factory.mktemp("runs")
    settings: dict[str, Any] = TINY | {"max_steps": 2, "measure_every": 0}
    train(configure("paper", data=data, runs=folder, name="red", **settings))
    write_model(read_model(folder / "red"), folder / "shared")
    return folder


def silent(*_: object, **__: object) -> None:
    """In place of a progress bar."""


def test_runs_checkpoints_and_models_are_found_and_named(runs: Path, tmp_path: Path) -> None:
    found = find_models([runs, "hf:someone/horses", tmp_path])
    assert found["red"] == str(runs / "red") and found["shared"] == str(runs / "shared")
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
    arguments = (str(image), source, "AtoB", "keep", "", True, [str(runs / "shared")], silent)
    shown, status, download, further = translate_image(Models([runs]), *arguments)  # type: ignore[arg-type]
    translator = Translator.load(source, "AtoB")
    expected = to_uint8_image(translator(read_pixels(image, translator.input_spec)))
    assert "red → blue, 40×40 pixels." in status
    assert shown[0].tobytes() == Image.open(image).tobytes() and shown[1].tobytes() == expected.tobytes()
    assert [caption for _, caption in further["value"]] == ["red", "shared", "and back to red"]
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


def test_an_upload_that_cannot_be_kept_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file" / "folder"))
    answer = TestClient(build_app([tmp_path])).post("/gradio_api/upload", files={"files": b"an image"})
    assert answer.status_code == 507
    assert answer.text == "The app cannot write to its temporary folder: Not a directory."


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
    with pytest.raises(UsageError, match=r'needs gradio; install it with: pip install "cyclegan\[app\]"'):
        main.run(["app"])


@pytest.fixture
def page(runs: Path, tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """A tab of the browser with the app for a copy of the runs, and the address."""
    browser = pytest.importorskip("page_in_browser", reason="needs websocket-client, of the extra visdom")
    if browser.chromium() is None:
        pytest.skip("needs Chromium")
    shutil.copytree(runs, tmp_path / "runs")
    with served(tmp_path / "runs") as address, browser.open_tab("about:blank") as tab:
        tab.call("Network.enable")
        tab.call("Page.navigate", url=address)
        tab.until("document.querySelectorAll('#try-direction input').length == 2")
        yield tab, address


@contextmanager
def served(runs: Path, end: int = signal.SIGTERM) -> Iterator[str]:
    """The app as a process that ends by a signal, and its address. Unless killed, it leaves no upload."""
    temporary = Path(tempfile.mkdtemp(dir=runs.parent))
    with start("app", runs, "--port", 0, TMPDIR=str(temporary)) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:\d+/", process.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            process.send_signal(end)
            process.communicate(timeout=60)
    assert end == signal.SIGKILL or not list(temporary.glob("cyclegan-app-*"))


def choose_files(tab: Any, selector: str, *files: Path) -> None:
    document = tab.call("DOM.getDocument")["root"]["nodeId"]
    chooser = tab.call("DOM.querySelector", nodeId=document, selector=f"{selector} input[type=file]")["nodeId"]
    tab.call("DOM.setFileInputFiles", nodeId=chooser, files=[str(file) for file in files])


def click(tab: Any, selector: str) -> None:
    tab.until(f"!!document.querySelector('{selector}') && !document.querySelector('{selector}').disabled")
    tab.evaluate(f"document.querySelector('{selector}').click()")


def open_page_tab(tab: Any, title: str) -> None:
    tab.evaluate(f"[...document.querySelectorAll('[role=tab]')].find(e => e.textContent.trim() == '{title}').click()")


def fill(tab: Any, selector: str, text: object) -> None:
    tab.until(f"!!document.querySelector('{selector}')")
    tab.evaluate(
        f"field = document.querySelector('{selector}'); field.value = '{text}';"
        "field.dispatchEvent(new Event('input', {bubbles: true})); field.dispatchEvent(new Event('blur'))"
    )


def until_text(tab: Any, selector: str, *texts: str) -> None:
    for text in texts:
        tab.until(f"document.querySelector('{selector}')?.innerText.includes({text!r})")


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.network
def test_a_browser_translates_one_image_and_many(page: tuple[Any, str], data: Path, tmp_path: Path) -> None:
    tab, address = page
    choose_files(tab, "#try-image", data / "testA" / "00.png")
    until_text(tab, "#try-status", "red → blue, 40×40 pixels.")
    tab.until("document.querySelectorAll('#try-result img').length == 2")
    click(tab, "#try-direction label:last-child input")
    until_text(tab, "#try-status", "blue → red, 40×40 pixels.")
    uploaded = tab.evaluate("document.querySelector('#try-image img').src")
    click(tab, "#try-example")
    tab.until(f"![undefined, {uploaded!r}].includes(document.querySelector('#try-image img')?.src)")
    click(tab, "#try-image button[aria-label^=Remove]")
    until_text(tab, "#try-status", "Drop an image")
    click(tab, "#try-image button[aria-label*=camera]")
    words = "/Access Webcam|capture photo/.test(each.ariaLabel || each.innerText)"
    button = f"[...document.querySelectorAll('#try-image button')].find(each => {words})"
    tab.until(f"!!{button}")
    tab.evaluate(f"{button}.click()")
    tab.until("document.querySelector('#try-image video')?.currentTime > 0")
    tab.evaluate(f"{button}.click()")
    until_text(tab, "#try-status", "blue → red, 1920×1440 pixels.")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    open_page_tab(tab, "Files")
    choose_files(tab, "#files-input", *sorted((data / "testA").iterdir()), broken)
    until_text(tab, "#files-input", "broken")
    click(tab, "#files-go")
    until_text(tab, "#files-status", "3 images translated, 1 skipped. broken.png is damaged")
    tab.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    tab.call("Runtime.evaluate", expression="document.querySelector('#files-download').click()", userGesture=True)
    wait_until((tmp_path / "blue.zip").exists)
    with zipfile.ZipFile(tmp_path / "blue.zip") as archive:
        assert sorted(archive.namelist()) == ["00.png", "01.png", "02.png"]
    open_page_tab(tab, "Test images")
    click(tab, "#gallery-go")
    until_text(tab, "#gallery-status", "red → blue, mean of these 3: PSNR")
    open_page_tab(tab, "Try")
    choose_files(tab, "#try-image", broken)
    until_text(tab, "#try-status", "broken.png is damaged")
    loaded = tab.evaluate("JSON.stringify(performance.getEntriesByType('resource').map(each => each.name))")
    assert [each for each in json.loads(loaded) if not each.startswith((address, "data:", "blob:"))] == []
    tab.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
    tab.until("document.documentElement.scrollWidth <= 390")


def write_video(file: Path, frames: int) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(file), "w") as output:
        stream = output.add_stream("libx264", rate=10)
        stream.width = stream.height = 40
        stream.pix_fmt = "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.full((40, 40, 3), 128, np.uint8), format="rgb24")
        for _ in range(frames):
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return file


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.network
def test_a_browser_translates_a_video_after_a_preview_and_cancels(page: tuple[Any, str], tmp_path: Path) -> None:
    tab, _ = page
    open_page_tab(tab, "Files")
    choose_files(tab, "#files-input", write_video(tmp_path / "long.mp4", 5000))
    until_text(tab, "#files-input", "long")
    click(tab, "#files-go")
    until_text(tab, "#files-status", "of 5,000 frames")
    assert tab.evaluate("document.querySelectorAll('#files-preview img').length") == 2
    click(tab, "#files-cancel")
    until_text(tab, "#files-status", "Cancelled; nothing was kept.")
    click(tab, "#files-input button[aria-label=Clear]")
    tab.until("!document.querySelector('#files-input').innerText.includes('long')")
    choose_files(tab, "#files-input", write_video(tmp_path / "short.mp4", 3))
    until_text(tab, "#files-input", "short")
    click(tab, "#files-go")
    until_text(tab, "#files-status", "3 frames translated.")
    tab.until("document.querySelector('#files-video video')?.videoWidth == 40")


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.network
def test_a_run_started_in_the_browser_outlives_the_app(page: tuple[Any, str], data: Path, tmp_path: Path) -> None:
    tab, _ = page
    run, browser = tmp_path / "runs" / "short", pytest.importorskip("page_in_browser")
    open_page_tab(tab, "Train")
    fill(tab, "#train-a textarea, #train-a input", data / "trainA")
    fill(tab, "#train-b textarea, #train-b input", data / "trainB")
    click(tab, "#train-check")
    until_text(tab, "#train-findings", "7 in red (train)", "cyclegan train --a")
    fill(tab, "#train-minutes input", 30)
    fill(tab, "#train-name textarea, #train-name input", "short")
    click(tab, "#train-start")
    until_text(tab, "#train-message", "Started", "Closing this page does not stop it.")
    tab.until("!!document.querySelector('#live iframe')?.contentDocument?.querySelector('.state.training')")
    with served(run.parent, end=signal.SIGKILL) as other, browser.open_tab(other) as second:
        tab.call("Page.navigate", url="about:blank")
        assert is_training(run)
        second.until("!!document.querySelector('#try-go')")
        open_page_tab(second, "Train")
        until_text(second, "#train-state", "short: training")
        click(second, "#train-resume")
        until_text(second, "body", "is being trained by another process; wait for it, or stop it first.")
        click(second, "#train-stop")
        until_text(second, "#train-state", "short: stopped")
        click(second, "#train-resume")
        until_text(second, "#train-state", "short: training")
        os.kill(int((run / PROCESS_FILE).read_text().split()[0]), signal.SIGKILL)
        until_text(second, "#train-state", "killed by SIGKILL, perhaps for lack of memory; Resume continues the run.")
        click(second, "#train-resume")
        until_text(second, "#train-state", "short: training")
    assert is_training(run)  # its app was killed
    stop_run(run)
    wait_until(lambda: not is_training(run))
