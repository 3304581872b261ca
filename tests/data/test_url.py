"""Images from web addresses, served by a local server."""

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from PIL import Image

from cyclegan import CycleGANError, UsageError
from cyclegan.cli.main import run as run_command
from cyclegan.config.schema import Config
from cyclegan.data.get.url import download
from cyclegan.methods.method import build_method
from cyclegan.runs.model import Model, model_settings
from cyclegan.runs.publish import write_model

pytestmark = pytest.mark.network
SIDE = 40
REDIRECTS = {"/moved.jpg": "/horse.jpg", "/file.jpg": "file:///etc/hostname", "/ftp.jpg": "ftp://127.0.0.1/x.jpg"}


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((SIDE, SIDE)).save(file, "JPEG")
    return file.getvalue()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in REDIRECTS:
            self.send_response(302)
            self.send_header("Location", REDIRECTS[path])
            self.end_headers()
        elif path == "/slow.jpg":
            self.server.waiting.wait(10)  # type: ignore[attr-defined]
        elif path in ("/horse.jpg", "/picture", "/page.jpg"):
            content = b"<html>not here</html>" if path == "/page.jpg" else jpeg()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.waiting = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.waiting.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


def test_the_file_has_the_name_of_the_address_and_the_suffix_of_its_format(address: str, tmp_path: Path) -> None:
    for path, name in (("horse.jpg?size=1", "horse.jpg"), ("moved.jpg", "moved.jpg"), ("picture?id=3", "picture.jpg")):
        file = download(f"{address}/{path}", tmp_path / "in")
        assert file == tmp_path / "in" / name
        assert file.read_bytes() == jpeg()


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone.jpg", r"gone.jpg returned 404 Not Found\.$"),
        ("page.jpg", r"page.jpg is not an image in a supported format .*\.$"),
        ("file.jpg", r"file.jpg returned 302 .*file:///etc/hostname.* is not allowed\.$"),
        ("ftp.jpg", r"ftp.jpg could not be downloaded: the server redirects to ftp://127.0.0.1/x.jpg"),
        ("slow.jpg", r"slow.jpg could not be downloaded: the server did not respond in time\.$"),
    ],
)
def test_what_cannot_be_downloaded_is_one_sentence(address: str, tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(CycleGANError, match=message):
        download(f"{address}/{path}", tmp_path, timeout=0.3)


def test_the_size_is_limited_and_other_schemes_are_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(CycleGANError, match=r"horse.jpg could not be downloaded: the server sent more than 100 bytes"):
        download(f"{address}/horse.jpg", tmp_path, max_bytes=100)
    for other in ("file:///etc/hostname", "ftp://127.0.0.1/x.jpg", "http://"):
        with pytest.raises(UsageError, match=f"^{other} cannot be read; only addresses such as https://"):
            download(other, tmp_path)


def test_the_command_translates_an_address(address: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = Config().with_settings(generator_width=4, blocks=1, discriminator_width=4)
    model = Model(model_settings(config), build_method(config, seed=0).state_dict(), "made by a test")
    write_model(model, tmp_path / "model")
    for out in ("zebra.png", "folder"):
        run_command(["translate", str(tmp_path / "model"), f"{address}/horse.jpg", "-o", str(tmp_path / out)])
    for result in ("zebra.png", "folder/horse.jpg"):
        with Image.open(tmp_path / result) as image:
            assert image.size == (SIDE, SIDE)
