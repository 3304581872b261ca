"""A real browser opens a page, over Chromium's own debugging protocol."""

import base64
import io
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from PIL import Image
from websocket import WebSocket, create_connection

PATIENCE = 120.0  # seconds


def chromium() -> str | None:
    """The browser, if there is one."""
    return shutil.which("chromium") or shutil.which("google-chrome")


def translated_by_page(folder: Path, image: Path, screenshot: Path | None = None) -> Image.Image:
    """The translation that the page makes of an image chosen by its user."""
    with open_tab((folder / "index.html").resolve().as_uri(), screenshot) as tab:
        tab.until("!document.getElementById('file').disabled")
        document = tab.call("DOM.getDocument")["root"]["nodeId"]
        chooser = tab.call("DOM.querySelector", nodeId=document, selector="#file")["nodeId"]
        tab.call("DOM.setFileInputFiles", nodeId=chooser, files=[str(image.resolve())])
        tab.until("!document.getElementById('save').hidden || document.getElementById('status').className")
        message = tab.evaluate("document.getElementById('status').textContent")
        assert message.startswith("Done: "), message
        uri = tab.evaluate("document.getElementById('after').toDataURL('image/png')")
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")


class Tab:
    """One page in the browser."""

    def __init__(self, socket: WebSocket):
        self.socket, self.number = socket, 0

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": values}))
        while (message := json.loads(self.socket.recv())).get("id") != self.number:
            pass
        assert "result" in message, message
        return dict(message["result"])

    def evaluate(self, expression: str) -> Any:
        return self.call("Runtime.evaluate", expression=expression)["result"].get("value")

    def until(self, expression: str) -> None:
        end = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            assert time.monotonic() < end, self.evaluate("document.body.innerText")
            time.sleep(0.2)


@contextmanager
def open_tab(address: str, screenshot: Path | None = None) -> Iterator[Tab]:
    browser = chromium()
    assert browser is not None
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", address]
    command += ["--no-first-run", "--disable-background-networking", "--window-size=1000,800"]
    command += ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]  # a webcam
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = next(line for line in process.stderr if "DevTools listening on" in line)
            port = line.split("127.0.0.1:")[1].split("/")[0]
            with urlopen(f"http://127.0.0.1:{port}/json") as answer:
                pages = [page for page in json.load(answer) if page["type"] == "page"]
            socket = create_connection(pages[0]["webSocketDebuggerUrl"], timeout=PATIENCE, suppress_origin=True)
            tab = Tab(socket)
            yield tab
            if screenshot is not None:
                screenshot.write_bytes(base64.b64decode(tab.call("Page.captureScreenshot")["data"]))
        finally:
            process.terminate()
