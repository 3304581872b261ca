"""The files in deploy/: valid by their schemas, and in agreement with the server and the Dockerfile."""

import os
import re
import signal
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import httpx
import pytest

import cyclegan.cli.main  # noqa: F401  (registers the commands)
from conftest import start
from cyclegan.cli.app import COMMANDS
from serving import encoded, write_tiny_model

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
KUBERNETES = ROOT / "deploy" / "kubernetes"


def load(file: Path) -> Any:
    return yaml.safe_load(file.read_text("utf-8"))


COMPOSE = load(ROOT / "deploy" / "compose.yaml")
SERVICE = COMPOSE["services"]["server"]
MANIFESTS = {file.stem: load(file) for file in KUBERNETES.glob("*.yaml")}
POD = MANIFESTS["deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
VARIABLES = {each["name"]: each["value"] for each in CONTAINER["env"] if "value" in each}
TIMEOUT = signature(COMMANDS["serve"]).parameters["timeout"].default
POD_LABELS = MANIFESTS["deployment"]["spec"]["template"]["metadata"]["labels"]


def test_manifests_are_valid() -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    kustomization = MANIFESTS["kustomization"]
    assert {Path(name).stem for name in kustomization["resources"]} | {"kustomization"} == MANIFESTS.keys()
    for name in kustomization["resources"]:
        kubernetes_validate.validate(load(KUBERNETES / name), kubernetes_validate.latest_version(), strict=True)
    # The schemas do not relate objects to each other.
    assert MANIFESTS["service"]["spec"]["selector"].items() <= POD_LABELS.items()
    assert MANIFESTS["deployment"]["spec"]["selector"]["matchLabels"].items() <= POD_LABELS.items()
    scaled = MANIFESTS["autoscaler"]["spec"]["scaleTargetRef"]
    assert (scaled["kind"], scaled["name"]) == ("Deployment", MANIFESTS["deployment"]["metadata"]["name"])
    ports = {port["name"] for port in CONTAINER["ports"]}
    assert {port["targetPort"] for port in MANIFESTS["service"]["spec"]["ports"]} == ports
    assert {mount["name"] for mount in CONTAINER["volumeMounts"]} == {volume["name"] for volume in POD["volumes"]}
    assert kustomization["images"][0]["name"] == CONTAINER["image"] == SERVICE["image"]


def test_the_compose_file_is_valid() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schemas = pytest.importorskip("check_jsonschema.builtin_schemas")
    jsonschema.validate(COMPOSE, schemas.get_builtin_schema("vendor.compose-spec"))


def test_containers_have_no_rights_that_they_do_not_need() -> None:
    user = re.search(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text("utf-8"), re.M)
    assert user is not None
    assert POD["securityContext"]["runAsUser"] == int(user[1]) == int(SERVICE["user"]) > 0
    assert POD["securityContext"]["runAsNonRoot"] and not POD["automountServiceAccountToken"]
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert SERVICE["read_only"] and SERVICE["cap_drop"] == ["ALL"]


@pytest.mark.processes
@pytest.mark.network
def test_the_server_starts_as_written_and_answers_probes_and_the_autoscaler(tmp_path: Path) -> None:
    pytest.importorskip("prometheus_client")
    write_tiny_model(tmp_path / "horse2zebra")
    words = [
        word.replace("/models", str(tmp_path)).replace("0.0.0.0", "127.0.0.1").replace("3GiB", "1GiB")
        for word in CONTAINER["args"]
    ]
    assert CONTAINER["args"][: len(SERVICE["command"])] == SERVICE["command"]
    (tmp_path / "tmp").mkdir()
    variables = {name: value.replace("/tmp", f"{tmp_path}/tmp") for name, value in VARIABLES.items()}
    assert variables.keys() <= SERVICE["environment"].keys()
    process = start(*words, "--port", 0, CYCLEGAN_API_KEY="secret", **variables)
    try:
        assert process.stdout is not None
        address = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert address is not None
        with httpx.Client(base_url=address[0], timeout=60, trust_env=False) as client:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert client.get(CONTAINER[probe]["httpGet"]["path"]).status_code == 200
            assert client.post("/v1/translate", content=encoded()).status_code == 401
            headers = {"Authorization": "Bearer secret", "Content-Type": "image/png"}
            assert client.post("/v1/translate", content=encoded(), headers=headers).status_code == 200
            (metric,) = MANIFESTS["autoscaler"]["spec"]["metrics"]
            assert f"{metric['pods']['metric']['name']} 0.0" in client.get("/metrics").text.splitlines()
        python, *check = [word.replace(":8000", f":{address[1]}") for word in SERVICE["healthcheck"]["test"][1:]]
        assert python == "python"
        environment = os.environ | {"no_proxy": "127.0.0.1"}
        assert subprocess.run([sys.executable, *check], env=environment).returncode == 0
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert subprocess.run([sys.executable, *check], env=environment, capture_output=True).returncode == 1
    assert POD["terminationGracePeriodSeconds"] > CONTAINER["lifecycle"]["preStop"]["sleep"]["seconds"] + TIMEOUT
    assert int(SERVICE["stop_grace_period"].removesuffix("s")) > TIMEOUT
