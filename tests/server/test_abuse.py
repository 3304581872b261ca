"""Hostile clients: no error of the server, nothing written, bounded memory, and an answer to everyone else."""

import os
import re
import tempfile
import threading
from pathlib import Path

import httpx
import psutil
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from conftest import start
from server.abuse import ATTACKS, campaign
from serving import encoded, serving, write_tiny_model


@pytest.mark.network
def test_hostile_requests_get_answers_and_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = write_tiny_model(tmp_path / "model")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with serving(str(model), bytes=1 << 20, seconds=1.0) as server:
        statuses, failures = campaign(server.address, 3 * len(ATTACKS))
        assert failures == []
        assert {"200", "400", "413", "415", "422"} <= set(statuses)
        answer = server.client.post("/v1/translate", content=encoded(), headers={"Content-Type": "image/png"})
        assert answer.status_code == 200
        assert not any("traceback" in record.fields for record in server.log)  # type: ignore[attr-defined]
    assert sorted(tmp_path.iterdir()) == [model, temporary] and not list(temporary.iterdir())


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.processes
def test_1000_hostile_requests_do_not_grow_the_server(tmp_path: Path) -> None:
    model, temporary = write_tiny_model(tmp_path / "model"), tmp_path / "temporary"
    temporary.mkdir()
    count = int(os.environ.get("ABUSE", "1000"))
    process = start("serve", model, "--port", 0, "--timeout", 3, "--max-upload", "2MiB", TMPDIR=str(temporary))
    assert process.stdout is not None and process.stderr is not None
    log: list[str] = []
    reader = threading.Thread(target=log.extend, args=(process.stderr,))  # or else the server would wait for it
    reader.start()
    try:
        found = re.search(r"http://(127.0.0.1):(\d+)/", process.stdout.readline())
        assert found is not None
        address = found[1], int(found[2])
        campaign(address, count // 10, seed=count)
        before = psutil.Process(process.pid).memory_info().rss
        statuses, failures = campaign(address, count)
        after = psutil.Process(process.pid).memory_info().rss
        print(dict(statuses), f"{before / 2**20:.0f} MiB before, {after / 2**20:.0f} MiB after")
        assert failures == []
        assert after < before + (300 << 20)
        assert httpx.get("http://{}:{}/readyz".format(*address), trust_env=False).status_code == 200
    finally:
        process.terminate()
        process.wait(timeout=30)
        reader.join()
    assert process.returncode == 0 and "traceback" not in "".join(log).lower()
    assert not list(temporary.iterdir())
