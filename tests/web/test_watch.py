"""The live page of runs: what it tells of them, what it serves and refuses, and the page itself in a browser."""

import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from conftest import TINY, flags, has_steps, start, wait_until
from conftest import run as run_command
from cyclegan.cli import main
from cyclegan.errors import UsageError
from cyclegan.runs.folder import lock_run
from cyclegan.runs.metrics_files import append_message
from cyclegan.system.text import quote
from cyclegan.training.setup import configure
from cyclegan.training.trainer import train
from cyclegan.web.server import HostCheck, open_socket
from cyclegan.web.state import find_runs
from cyclegan.web.watch import STATIC, watch_app


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    settings: dict[str, Any] = TINY | {"max_steps": 24, "sample_every": 12, "measure_every": 8, "samples": 2}
    return train(configure("paper", data=data, runs=runs, name="red", **settings))


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to change."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / "red"))


def client(*paths: Path) -> TestClient:
    return TestClient(watch_app(paths))


def summary(run: Path) -> dict[str, Any]:
    return dict(client(run).get("api/runs").json()["runs"][0])


def keep_rows(file: Path, rows: int) -> None:
    file.write_text("".join(file.read_text().splitlines(keepends=True)[: rows + 1]))


def test_a_finished_run_is_summed_up(run: Path) -> None:
    shown = summary(run)
    assert (shown["name"], shown["method"], shown["state"], shown["progress"]) == ("red", "CycleGAN", "complete", 1.0)
    assert (shown["step"], shown["left"], shown["report"]) == (24, None, False)
    assert shown["quality"]["name"] == "SSIM" and shown["quality"]["best_step"] in (8, 16, 24)


def test_the_best_quality_is_that_of_a_translation_next_to_the_untranslated_input(run: Path) -> None:
    baseline = "step,minutes,swd_AtoB,swd_BtoA\n0,0,50,70\n"
    (run / "quality.csv").write_text(baseline + "8,1,200,100\n16,2,90,80\n24,3,120,90\n")
    expected = {"name": "SWD", "last": 105, "best": 85, "best_step": 16, "untranslated": 60}
    assert summary(run)["quality"] == expected
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace('best_by = "auto"', 'best_by = "psnr"'))
    (run / "quality.csv").write_text("step,minutes,psnr_AtoB,ssim_AtoB,swd_AtoB\n8,1,21,0.1,9\n16,2,20,0.9,8\n")
    expected = {"name": "PSNR", "last": 20, "best": 21, "best_step": 8, "untranslated": None}
    assert summary(run)["quality"] == expected
    (run / "quality.csv").write_text(baseline)
    assert summary(run)["quality"] is None


def test_a_locked_run_is_training_and_its_time_left_follows_from_its_speed(run: Path) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "metrics.csv").write_text("step,progress,minutes\n10,0.25,1.5\n20,0.5,2.5\n")
    lock = lock_run(run)
    shown = summary(run)
    lock.release()
    assert (shown["state"], shown["progress"], shown["left"]) == ("training", 0.5, pytest.approx(2.5))
    assert summary(run)["state"] == "stopped"


def test_watching_does_not_keep_a_run_from_being_resumed_or_change_it(run: Path) -> None:
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    page = client(run)
    for address in ("", "api/runs", "api/runs/red", "runs/red/report.html"):
        page.get(address)
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before
    lock_run(run).release()


def test_curves_images_and_messages_are_described_with_the_names_of_the_domains(run: Path) -> None:
    (run / "messages.jsonl").unlink(missing_ok=True)
    append_message(run / "messages.jsonl", 8, "The input is ignored.")
    append_message(run / "messages.jsonl", 16, "The input is ignored.")
    shown = client(run).get("api/runs/red").json()
    cycle = next(panel for panel in shown["panels"]["losses"] if panel["heading"] == "Cycle")
    assert [curve["label"] for curve in cycle["curves"]] == ["red → blue → red", "blue → red → blue"]
    assert [point[0] for point in cycle["curves"][0]["points"]] == list(range(1, 25))
    assert [panel["heading"] for panel in shown["panels"]["quality"]][:2] == ["PSNR (dB)", "SSIM"]
    assert shown["samples"]["BtoA"]["domains"] == ["blue", "red"]
    assert shown["samples"]["AtoB"]["headings"] == ["input", "translated", "and back", "identity"]
    assert [each["step"] for each in shown["samples"]["AtoB"]["steps"]] == [1, 12, 24]
    assert shown["notes"] == [{"step": 16, "text": "The input is ignored."}]


def test_boxes_are_the_cells_of_the_sample_grid(run: Path) -> None:
    page = client(run)
    sample = page.get("api/runs/red").json()["samples"]["AtoB"]
    answer = page.get(f"runs/red/samples/{sample['steps'][-1]['file']}")
    assert answer.headers["content-type"] == "image/png" and "immutable" in answer.headers["cache-control"]
    grid = Image.open(run / "samples" / "step-0000024-AtoB.png")
    assert (sample["width"], sample["height"]) == grid.size
    assert len(sample["boxes"]) == 2 and [len(row) for row in sample["boxes"]] == [4, 4]
    red = grid.crop(sample["boxes"][1][0]).resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
    assert isinstance(red, tuple) and red[0] > red[1] + 50  # the input is red


def test_long_curves_are_thinned_out(run: Path) -> None:
    rows = "".join(f"{step},{step / 9000},{step / 60},{step}\n" for step in range(1, 9001))
    (run / "metrics.csv").write_text("step,progress,minutes,G_A\n" + rows)
    points = client(run).get("api/runs/red").json()["panels"]["losses"][0]["curves"][0]["points"]
    assert len(points) <= 602 and points[0][0] == 1 and points[-1] == [9000, 150, 9000, points[-1][3]]


def test_a_run_without_any_figures_is_shown_too(run: Path) -> None:
    shutil.rmtree(run / "samples")
    shutil.rmtree(run / "checkpoints")
    for name in ("metrics.csv", "quality.csv"):
        (run / name).unlink()
    shown = client(run).get("api/runs/red").json()
    assert (shown["step"], shown["quality"], shown["samples"]) == (0, None, {})
    assert shown["panels"] == {"quality": [], "losses": []}


def test_a_run_with_broken_settings_is_named_with_its_problem(run: Path) -> None:
    (run / "config.toml").write_text("[data]\ncrop_size = 'large'\n")
    page = client(run)
    assert "crop" in page.get("api/runs").json()["runs"][0]["problem"]
    assert page.get("api/runs/red").status_code == 404


def test_a_folder_of_runs_shows_new_ones_and_equal_names_stay_apart(run: Path, tmp_path: Path) -> None:
    page = client(tmp_path / "runs")
    assert [each["name"] for each in page.get("api/runs").json()["runs"]] == ["red"]
    shutil.copytree(run, tmp_path / "runs" / "again")
    assert [each["name"] for each in page.get("api/runs").json()["runs"]] == ["again", "red"]
    shutil.copytree(run, tmp_path / "other" / "red")
    assert list(find_runs([run, tmp_path / "other" / "red", run])) == ["runs-red-1", "other-red-2"]


def test_an_unchanged_answer_is_not_sent_again(run: Path) -> None:
    page = client(run)
    tag = page.get("api/runs/red").headers["etag"]
    assert page.get("api/runs/red", headers={"If-None-Match": tag}).status_code == 304
    keep_rows(run / "metrics.csv", 5)
    assert page.get("api/runs/red", headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        "runs/red/config.toml",
        "runs/red/samples/config.toml",
        "runs/red/samples/..%2fconfig.toml",
        "runs/red/samples/%2e%2e/config.toml",
        "runs/red/samples/step-0000024-AtoB.png%00",
        "runs/red/samples/step-secret-AtoB.png",
        "runs/..%2fred/report.html",
        "runs/../../report.html",
        "static/..%2fwatch.py",
        "static/watch.py",
        "api/runs/%2e%2e",
        "api/runs/blue",
    ],
)
def test_nothing_but_the_known_files_of_the_runs_is_served(run: Path, address: str) -> None:
    (run / "samples" / "config.toml").write_text("secret")
    (run / "samples" / "step-secret-AtoB.png").write_text("secret")
    answer = client(run).get(address)
    assert answer.status_code == 404 and "secret" not in answer.text


def test_a_page_elsewhere_can_neither_write_nor_embed_nor_run_scripts(run: Path) -> None:
    page = client(run)
    for method in ("post", "put", "delete", "patch"):
        assert page.request(method, "api/runs").status_code == 405
    for address in ("", "static/watch.js", "api/runs", "api/runs/red", "nowhere"):
        headers = page.get(address).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("host", "accepted"),
    [
        ("localhost:6007", True),
        ("127.0.0.1:6007", True),
        ("[::1]:6007", True),
        ("192.0.2.7", True),
        ("gpu-box:6007", True),
        ("GPU-BOX", True),
        ("evil.example:6007", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_a_request_by_a_strange_name_is_refused(run: Path, host: str, accepted: bool) -> None:
    page = TestClient(HostCheck(watch_app([run]), ["gpu-box"]))
    answer = page.get("/api/runs", headers={"Host": host})
    assert answer.status_code == (200 if accepted else 421)
    assert ("runs" in answer.text) == accepted


def test_another_app_can_mount_the_page(run: Path) -> None:
    page = TestClient(Starlette(routes=[Mount("/live", watch_app([run]))]))
    assert "cyclegan watch" in page.get("/live/").text
    assert page.get("/live/api/runs").json()["runs"][0]["name"] == "red"
    assert page.get("/live/static/watch.js").status_code == 200


def test_all_addresses_of_the_page_are_relative_and_nothing_is_loaded_from_elsewhere() -> None:
    page = (STATIC / "watch.html").read_text("utf-8")
    loaded = re.findall(r"(?:src|href|srcset|action)=\"?([^\" >]*)", page)
    assert sorted(loaded) == ["data:,", "static/watch.css", "static/watch.js"]
    for file in ("watch.js", "watch.css"):
        text = (STATIC / file).read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|@import|innerHTML|[\"'`(]/", re.sub(r"//.*", "", text))


def test_a_port_in_use_or_wrong_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"Port {port} of 127.0.0.1 is in use; choose another with --port"):
            open_socket("127.0.0.1", port)
    with pytest.raises(UsageError, match="--port is 70000"):
        open_socket("127.0.0.1", 70000)
    with pytest.raises(UsageError, match=r"--host nowhere\.invalid is not known"):
        open_socket("nowhere.invalid", 0)


def test_without_its_libraries_the_command_says_how_to_install_them(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(UsageError, match=r'needs uvicorn; install it with: pip install "cyclegan\[watch\]"'):
        main.run(["watch", str(run)])


@pytest.mark.processes
def test_wrong_folders_are_refused_by_the_command(run: Path) -> None:
    for folder in (run / "nothing", run / "checkpoints" / "latest"):
        result = run_command("watch", folder)
        assert result.returncode == 2 and f"{folder} is not a run folder" in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.fixture
def served(run: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address and the process of `cyclegan watch` for the run and a second one."""
    shutil.copytree(run, run.parent / "second")
    process = start("watch", run.parent, "--port", 0)
    try:
        assert process.stdout is not None
        found = re.search(r"Watching 2 runs: (http://127\.0\.0\.1:\d+/)", process.stdout.readline())
        assert found is not None
        yield found[1], process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.processes
@pytest.mark.network
def test_the_command_serves_until_ctrl_c(served: tuple[str, subprocess.Popen[str]]) -> None:
    address, process = served
    with urllib.request.urlopen(f"{address}api/runs") as answer:
        assert [run["name"] for run in json.load(answer)["runs"]] == ["red", "second"]
    process.send_signal(2)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.processes
@pytest.mark.network
def test_a_browser_shows_the_runs(served: tuple[str, subprocess.Popen[str]], run: Path) -> None:
    browser = pytest.importorskip("page_in_browser", reason="needs websocket-client, of the extra visdom")
    if browser.chromium() is None:
        pytest.skip("needs Chromium")
    append_message(run / "messages.jsonl", 8, "The input is <b>ignored</b>.")
    with browser.open_tab(served[0]) as tab:
        tab.until("document.querySelectorAll('.card').length == 2")
        assert "The input is <b>ignored</b>." in tab.evaluate("document.getElementById('notes').textContent")
        tab.until("document.querySelectorAll('#losses path').length >= 8")
        assert tab.evaluate("document.querySelectorAll('.direction figure').length") == 4
        tab.until("document.querySelector('.cell').style.backgroundImage.includes('step-0000024-AtoB.png')")
        tab.evaluate("step.value = 1; step.dispatchEvent(new Event('input'))")
        tab.until("document.querySelector('.cell').style.backgroundImage.includes('step-0000012-AtoB.png')")
        tab.evaluate("document.querySelector('[value=large]').click()")
        assert tab.evaluate("getComputedStyle(document.querySelectorAll('.cell')[2]).display") == "none"
        tab.evaluate(
            "chart = document.querySelector('#losses .chart'); box = chart.getBoundingClientRect();"
            "chart.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + 46, clientY: box.top}))"
        )
        assert tab.evaluate("document.querySelector('#losses .at').textContent") == "step 1"
        tab.evaluate("document.querySelector('#picker [value=second]').click()")
        tab.until("document.querySelectorAll('.direction figure').length == 2")
        tab.call("Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True)
        tab.until("document.documentElement.clientWidth <= 390")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
        (run / "metrics.csv").write_text("step,progress,minutes,G_A\n1,0.5,1,2\n2,0.75,1.5,1\n")
        tab.until("document.querySelectorAll('#losses .panels figure').length == 1")
        assert tab.evaluate("document.getElementById('connection').textContent") == ""


@pytest.mark.processes
def test_a_run_stopped_by_ctrl_c_has_a_report(data: Path, tmp_path: Path) -> None:
    settings = flags(**{name: value for name, value in TINY.items() if name != "logger"}, max_minutes=30)
    process = start("train", data, "--runs", tmp_path, "--name", "my run", *settings)
    wait_until(lambda: has_steps(tmp_path / "my run", 3), process)
    process.send_signal(2)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    report = tmp_path / "my run" / "report.html"
    assert f"Report: {report}" in out and f"Report: {report}" in errors
    assert all(f"cyclegan {name} {quote(report.parent)}" in errors for name in ("watch", "resume"))
    page = report.read_text("utf-8")
    assert "This page was written during training." in page and "step 1</figcaption>" in page and "Cycle" in page
