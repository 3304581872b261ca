"""The examples of docs/serving.md against a server, and the types of problem that it lists."""

import re
import shlex
import subprocess
import zipfile
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from cyclegan.server.problems import STATUS
from serving import encoded, serving, write_tiny_model

PAGE = (Path(__file__).parents[2] / "docs" / "serving.md").read_text("utf-8")
EXAMPLES = re.findall(
    r"<!-- not run: needs a server; tests/server/test_pages.py [^\n]* -->\n```(\w*)\n(.*?)```", PAGE, re.S
)


@pytest.mark.network
def test_every_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("horse", "summer"):
        Path(f"{name}.jpg").write_bytes(encoded(64, 80, "JPEG"))
    with serving(str(write_tiny_model(tmp_path / "horse2zebra"))) as server:
        url = str(server.client.base_url).rstrip("/")
        for language, code in EXAMPLES:
            code = code.replace("http://127.0.0.1:8000", url)
            if language == "python":
                Path("zebra.jpg").unlink()
                exec(compile(code, "docs/serving.md", "exec"), {})
                continue
            for line in code.splitlines():
                subprocess.run([*shlex.split(line), "--fail", "--silent", "--noproxy", "*"], check=True, timeout=60)
    assert Image.open("zebra.jpg").size == (64, 80)
    assert (Image.open("zebra.webp").format, Image.open("zebra.webp").size) == ("WEBP", (256, 320))
    assert zipfile.ZipFile("results.zip").namelist() == ["0000.jpg", "0001.jpg", "results.json"]


def test_every_type_of_problem_has_its_row() -> None:
    rows = re.findall(r'^\| <a id="([\w-]+)"></a>`\1` \| (\d+) \|', PAGE, re.M)
    assert {kind: int(status) for kind, status in rows} == STATUS
