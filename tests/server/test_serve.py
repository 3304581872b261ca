"""`cyclegan serve`: what clients get, what they are told, and how the server behaves under load and at its end."""

import io
import json
import re
import shutil
import socket
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from conftest import start, wait_until
from cyclegan import Translator, UsageError
from cyclegan.cli.main import run as run_command
from serving import Running, encoded, serving, write_tiny_model

pytestmark = pytest.mark.network

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "red2blue")


@pytest.fixture(scope="module")
def server(trained: Path) -> Iterator[Running]:
    with serving(str(trained), pixels=200_000, bytes=1 << 20, images=4) as running:
        yield running


def problem(answer: httpx.Response, status: int, kind: str) -> str:
    """The sentence of an answer that is a problem of this kind."""
    content = answer.json()
    assert (answer.status_code, content["status"]) == (status, status), content
    assert answer.headers["content-type"] == "application/problem+json"
    assert content["type"] == f"https://cyclegan.github.io/cyclegan/serving/#{kind}"
    assert content["detail"].endswith((".", "KEY`.")) and "\n" not in content["detail"]
    return str(content["detail"])


def test_an_image_as_body_or_form_becomes_what_the_translator_makes_of_it(server: Running, trained: Path) -> None:
    image = encoded()
    for direction in ("AtoB", "blue2red"):
        expected = np.asarray(Translator.load(trained, direction)(Image.open(io.BytesIO(image))))
        query = f"/v1/translate?direction={direction}"
        for answer in (
            server.client.post(query, content=image, headers=PNG),
            server.client.post(query, content=image, headers={"Content-Type": ""}),
            server.client.post(query, files={"image": ("../../x.png", image)}),
        ):
            assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
            assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), expected)


@pytest.mark.parametrize(
    ("kind", "query", "media_type", "size"),
    [
        ("JPEG", "", "image/jpeg", (40, 60)),
        ("TIFF", "", "image/tiff", (40, 60)),
        ("GIF", "", "image/png", (40, 60)),
        ("PNG", "format=webp&quality=50", "image/webp", (40, 60)),
        ("PNG", "format=jpeg&size=20", "image/jpeg", (20, 30)),
        ("PNG", "format=npy&model=red2blue", "application/octet-stream", (40, 60)),
    ],
)
def test_format_and_size_are_those_of_the_image_or_of_the_query(
    server: Running, kind: str, query: str, media_type: str, size: tuple[int, int]
) -> None:
    answer = server.client.post(f"/v1/translate?{query}", content=encoded(40, 60, kind), headers=PNG)
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    if media_type == "application/octet-stream":
        assert np.load(io.BytesIO(answer.content)).shape == (size[1], size[0], 3)
    else:
        assert Image.open(io.BytesIO(answer.content)).size == size


def test_quality_makes_a_jpeg_smaller(server: Running) -> None:
    sizes = [
        len(server.client.post(f"/v1/translate?format=jpeg&quality={q}", content=encoded(), headers=PNG).content)
        for q in (5, 95)
    ]
    assert sizes[0] < sizes[1]


def test_a_batch_gives_an_archive_with_a_result_or_a_problem_for_each_image(server: Running) -> None:
    images = [encoded(), b"no image", encoded(30, 50, "JPEG"), encoded()]
    answer = server.client.post("/v1/translate/batch", files=[("image", (f"{n}", i)) for n, i in enumerate(images)])
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    results = json.loads(archive.read("results.json"))["results"]
    assert [each.get("file") for each in results] == ["0000.png", None, "0002.jpg", "0003.png"]
    assert results[1]["problem"]["status"] == 422
    assert archive.read("0000.png") == archive.read("0003.png")
    assert Image.open(io.BytesIO(archive.read("0002.jpg"))).size == (30, 50)
    too_many = server.client.post("/v1/translate/batch", files=[("image", ("x", images[0]))] * 5)
    assert "Too many files" in problem(too_many, 400, "invalid-request")


@pytest.mark.parametrize(
    ("query", "image", "status", "kind", "sentence"),
    [
        ("model=other", b"", 404, "unknown-model", "there are red2blue"),
        ("direction=up", b"", 400, "invalid-request", "translates AtoB (red2blue) and BtoA (blue2red) only, not up"),
        ("size=0", b"", 400, "invalid-request", "size must be at least 1"),
        ("size=big", b"", 400, "invalid-request", "size: "),
        ("quality=0", b"", 400, "invalid-request", "quality: "),
        ("format=exe", b"", 400, "invalid-request", "format: "),
        ("", b"", 422, "unreadable-image", "The image is empty."),
        ("", b"hello", 422, "unreadable-image", "The image is not an image in a supported format"),
        ("", encoded()[:900], 422, "unreadable-image", "The image is damaged"),
        ("", encoded(1000, 201, "JPEG"), 413, "image-too-large", "The image of 1000x201 pixels has more than 200,000"),
        ("size=900", encoded(), 413, "image-too-large", "The result of 900x900 pixels has more than"),
        ("", bytes((1 << 20) + 1), 413, "upload-too-large", "larger than 1 MiB"),
    ],
)
def test_what_cannot_be_translated_is_explained_in_a_sentence(
    server: Running, query: str, image: bytes, status: int, kind: str, sentence: str
) -> None:
    answer = server.client.post(f"/v1/translate?{query}", content=image, headers=PNG)
    assert sentence in problem(answer, status, kind)
    chunked = server.client.post(f"/v1/translate?{query}", content=iter([image]), headers=PNG)
    assert chunked.json() == answer.json()


def test_wrong_addresses_methods_and_types_are_explained(server: Running) -> None:
    post, get = server.client.post, server.client.get
    problem(get("/v1/nothing"), 404, "not-found")
    problem(get("/v1/translate"), 405, "method-not-allowed")
    as_form = post("/v1/translate", content=encoded(), headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert "send an image with a Content-Type such as image/jpeg" in problem(as_form, 415, "unsupported-media-type")
    problem(post("/v1/translate", files={"photo": encoded()}), 400, "invalid-request")
    problem(post("/v1/translate", files={"image": encoded()}, data={"size": "3"}), 400, "invalid-request")
    problem(
        post("/v1/translate", content=b"x", headers={"Content-Type": "multipart/form-data"}), 400, "invalid-request"
    )
    form = {"Content-Type": "multipart/form-data; boundary=b"}  # and no part
    problem(post("/v1/translate", content=b"--b", headers=form), 400, "invalid-request")
    assert "npy" in problem(post("/v1/translate", content=npz(), headers=PNG), 422, "unreadable-image")


def npz() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, np.zeros((40, 40, 3), np.uint8))
    return file.getvalue()


def test_models_probes_metrics_and_openapi_describe_the_server(server: Running) -> None:
    (model,) = server.client.get("/v1/models").json()["models"]
    assert [(d["direction"], d["from"], d["to"]) for d in model["directions"]] == [
        ("AtoB", "red", "blue"),
        ("BtoA", "blue", "red"),
    ]
    assert server.client.get("/healthz").status_code == server.client.get("/readyz").status_code == 200
    server.client.post("/v1/translate", content=encoded(), headers=PNG)
    metrics = server.client.get("/metrics").text
    assert 'cyclegan_requests_total{path="/v1/translate",status="200"}' in metrics
    assert "cyclegan_queue_length 0.0" in metrics
    schema = server.client.get("/openapi.json").json()
    responses = schema["paths"]["/v1/translate"]["post"]["responses"]
    assert responses["429"]["content"]["application/problem+json"]["example"]["status"] == 429
    assert "multipart/form-data" in schema["paths"]["/v1/translate"]["post"]["requestBody"]["content"]


def test_logs_have_the_request_and_no_names_or_keys(server: Running) -> None:
    server.log.clear()
    answer = server.client.post(
        "/v1/translate?size=20", files={"image": ("secret.png", encoded())}, headers={"X-Request-ID": "abc-1"}
    )
    assert answer.headers["x-request-id"] == "abc-1"
    (record,) = server.log
    assert record.fields["id"] == "abc-1" and record.fields["pixels"] == 400  # type: ignore[attr-defined]
    assert "secret" not in json.dumps(record.fields)  # type: ignore[attr-defined]
    forged = server.client.get("/v1/models", headers={"X-Request-ID": "a b"})
    assert len(forged.headers["x-request-id"]) == 32


def test_keys_and_other_origins_are_needed_only_where_they_are_set(trained: Path) -> None:
    with serving(f"first={trained}", f"second={trained}", keys=("one", "two"), origins=("https://a.org",)) as server:
        get, origin = server.client.get, {"Origin": "https://a.org"}
        problem(get("/v1/models"), 401, "unauthorized")
        problem(get("/v1/models", headers={"Authorization": "Bearer three"}), 401, "unauthorized")
        assert get("/v1/models", headers={"X-API-Key": "one"}).status_code == 200
        allowed = get("/v1/models", headers={"Authorization": "Bearer two"} | origin)
        assert allowed.headers["access-control-allow-origin"] == "https://a.org"
        assert get("/healthz").status_code == 200
        unnamed = server.client.post("/v1/translate", headers={"X-API-Key": "one"})
        assert "Choose a model" in problem(unnamed, 400, "invalid-request")


def test_no_other_origin_may_use_a_server_by_default(server: Running) -> None:
    assert (
        "access-control-allow-origin"
        not in server.client.get("/v1/models", headers={"Origin": "https://a.org"}).headers
    )


class Gate:
    """Holds the generators of a server until it is opened, and records the sizes of their batches."""

    def __init__(self, server: Running):
        self.opened, self.entered, self.batches = threading.Event(), threading.Semaphore(0), list[int]()
        translators = [t for model in server.service.models.values() for t, *_ in model.translators.values()]
        originals = [translator.generator for translator in translators]

        def wait(module: torch.nn.Module, arguments: tuple[torch.Tensor]) -> None:  # a method could not be copied
            if module in originals:
                self.batches.append(len(arguments[0]))
                self.entered.release()
                self.opened.wait(30)

        for translator in translators:
            translator.generator.register_forward_pre_hook(wait)
            translator.fast = translator.generator


def test_a_full_queue_refuses_and_a_stopping_server_finishes_what_it_has(trained: Path) -> None:
    with serving(str(trained), queue=2) as server, ThreadPoolExecutor(16) as threads:
        gate = Gate(server)
        post = lambda: server.client.post("/v1/translate", content=encoded(), headers=PNG)  # noqa: E731
        admitted = [threads.submit(post) for _ in range(5)]  # three decoded, two waiting
        wait_until(server.service.is_full, seconds=20)
        refused = post()
        assert "its queue of 2 is full" in problem(refused, 429, "too-many-requests")
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        problem(server.client.get("/readyz"), 503, "unavailable")
        assert server.client.get("/healthz").status_code == 200
        assert "cyclegan_queue_length 2.0" in server.client.get("/metrics").text
        server.stop()
        gate.opened.set()
        assert [each.result().status_code for each in admitted] == [200] * 5


def test_equal_sizes_that_wait_together_become_a_batch(trained: Path) -> None:
    with serving(str(trained), max_batch=4) as server, ThreadPoolExecutor(8) as threads:
        gate = Gate(server)
        post = lambda size: server.client.post("/v1/translate", content=encoded(size), headers=PNG)  # noqa: E731
        first = threads.submit(post, 40)
        gate.entered.acquire()
        others = [threads.submit(post, size) for size in (40, 40, 40, 44)]
        wait_until(lambda: server.service.workers.waiting() == 4, seconds=20)
        gate.opened.set()
        results = [each.result() for each in (first, *others)]
        assert sorted(gate.batches) == [1, 1, 3]
        assert [each.status_code for each in results] == [200] * 5
        assert results[1].content == results[2].content == results[3].content


def test_work_is_dropped_when_its_time_is_up_or_its_client_gone(trained: Path) -> None:
    with serving(str(trained), seconds=0.5) as server, ThreadPoolExecutor(2) as threads:
        gate = Gate(server)
        late = threads.submit(server.client.post, "/v1/translate", content=encoded(), headers=PNG)
        gate.entered.acquire()
        with httpx.Client(base_url=server.client.base_url, timeout=0.2) as impatient, pytest.raises(httpx.ReadTimeout):
            impatient.post("/v1/translate", content=encoded(), headers=PNG)
        assert "within 0.5 seconds" in problem(late.result(), 503, "timeout")
        gate.opened.set()
        assert server.client.post("/v1/translate", content=encoded(), headers=PNG).status_code == 200
        assert len(gate.batches) == 2  # the dropped image was never translated
        assert 499 in [record.fields["status"] for record in server.log]  # type: ignore[attr-defined]


def test_the_command_explains_what_keeps_it_from_serving(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def error(*words: object) -> str:
        with pytest.raises(UsageError) as caught:
            run_command(["serve", *map(str, words)])
        return str(caught.value)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Port {port} of 127.0.0.1 is in use" in error(trained, "--port", port)
    assert "Two models are called red2blue" in error(trained, trained, "--port", 0)
    assert "--queue is 0; it must be more than 0." in error(trained, "--queue", 0)
    assert "--max-batch is 'many'" in error(trained, "--max-batch", "many")
    assert "--api-key-file" in error(trained, "--api-key-file", tmp_path / "none")
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert 'pip install "cyclegan[serve]"' in error(trained)


@pytest.mark.processes
def test_a_signal_ends_the_command_after_a_deleted_model_was_used(trained: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(trained, tmp_path / "model"))
    process = start("serve", f"red={model}", "--port", 0, CYCLEGAN_API_KEY="key")
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    shutil.rmtree(model)
    headers = PNG | {"Authorization": "Bearer key"}
    url = re.search(r"Serving 1 model \(red\): (http://127.0.0.1:\d+/)", line)
    assert url is not None, line + process.stderr.read()
    answer = httpx.post(f"{url[1]}v1/translate", content=encoded(), headers=headers, trust_env=False, timeout=60)
    assert answer.status_code == 200
    assert httpx.get(f"{url[1]}v1/models", headers=headers | {"Host": "evil.org"}, trust_env=False).status_code == 421
    process.terminate()
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert [json.loads(line)["event"] for line in log.splitlines()] == ["request", "stopping"]
