"""Models on the Hugging Face hub, by its own library and a stand-in of its server on this machine."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load

from conftest import TINY
from cyclegan import CycleGANError, Translator, UsageError, configure, evaluate, export, train
from cyclegan.cli.main import run as run_command
from cyclegan.evaluation.report.report import write_report
from cyclegan.runs.model import read_model
from cyclegan.runs.publish import publish, write_model
from hub_server import COMMIT, Hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    server = Hub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", server.address)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants._HF_DEFAULT_ENDPOINT, server.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_stand_in")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    return train(configure("paper", **TINY, data=data, runs=runs, max_steps=2, sample_every=1, name="red2blue"))


@pytest.mark.network
def test_a_run_published_on_the_hub_translates_as_before(trained: Path, hub: Hub) -> None:
    before = Translator.load(trained, direction="BtoA")
    assert before.push_to_hub("me/red2blue", private=True) == f"{hub.address}/me/red2blue"
    files = hub.repositories["me/red2blue"]
    assert sorted(files) == ["README.md", "config.json", "model.safetensors", "samples-AtoB.png", "samples-BtoA.png"]
    assert hub.private == {"me/red2blue"}
    uploaded = load(files["model.safetensors"])
    assert {name.split(".")[0] for name in uploaded} == {"generators"}
    after = Translator.from_pretrained("me/red2blue", direction="BtoA")
    image = torch.rand(3, 24, 28) * 2 - 1
    assert torch.equal(after.translate(image), before.translate(image))
    revised = Translator.from_pretrained(f"me/red2blue@{COMMIT}", direction="BtoA")
    assert torch.equal(revised.translate(image), before.translate(image))


@pytest.mark.network
def test_models_of_the_hub_are_exported_and_evaluated(
    trained: Path, hub: Hub, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(trained, "me/red2blue")
    monkeypatch.chdir(tmp_path)
    report = export("hf:me/red2blue", "safetensors", images=data / "testA")
    assert (str(report.path), report.max_difference) == ("red2blue-AtoB-safetensors", 0)
    evaluations = evaluate("hf:me/red2blue", data, max_images=2)
    assert [(each.run, each.direction) for each in evaluations] == [
        ("hf:me/red2blue", "AtoB"),
        ("hf:me/red2blue", "BtoA"),
    ]


@pytest.mark.network
def test_the_card_has_license_settings_data_quality_samples_and_use(trained: Path, hub: Hub, data: Path) -> None:
    write_report(trained)
    publish(trained, "me/red2blue", license="cc-by-4.0")
    card = hub.repositories["me/red2blue"]["README.md"].decode()
    assert card.startswith("---\nlibrary_name: cyclegan\nlicense: cc-by-4.0\npipeline_tag: image-to-image\n")
    for words in (
        "7 images of red and 5 of blue",
        "2 steps",
        "red to blue: PSNR ",
        "against ground truth on 3 test images",
        "![AtoB](samples-AtoB.png)",
        'from_pretrained("me/red2blue"',
        "lambda_a = 10",
        "The model invents detail that it cannot know",
    ):
        assert words in card
    assert str(data.parent) not in card and str(trained.parent) not in card  # nobody's folders


@pytest.mark.network
def test_a_model_folder_is_uploaded_unchanged(trained: Path, hub: Hub, tmp_path: Path) -> None:
    write_model(read_model(trained), tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("my own card")
    publish(tmp_path / "model", "me/mine")
    assert hub.repositories["me/mine"]["README.md"] == b"my own card"
    with pytest.raises(UsageError, match=r"uploaded unchanged; edit its README\.md"):
        publish(tmp_path / "model", "me/mine", license="mit")


@pytest.mark.network
def test_the_command_publishes_and_translates(
    trained: Path, hub: Hub, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_command(["publish", str(trained), "me/red2blue"])
    assert f"Published at {hub.address}/me/red2blue." in capsys.readouterr().out
    run_command(["translate", "hf:me/red2blue", str(data / "testA"), "-o", str(tmp_path / "out")])
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.network
def test_a_downloaded_model_loads_when_the_hub_is_unreachable(trained: Path, hub: Hub, tmp_path: Path) -> None:
    publish(trained, "me/red2blue")
    Translator.from_pretrained("me/red2blue")
    hub.shutdown()
    hub.server_close()
    assert Translator.from_pretrained("me/red2blue").in_channels == 3
    with pytest.raises(CycleGANError, match=r"^hf:me/other "):
        Translator.from_pretrained("me/other")


@pytest.mark.network
def test_errors_of_the_hub_are_explained(trained: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CycleGANError, match=r"^hf:me/nothing was not found on the hub"):
        Translator.from_pretrained("me/nothing")
    hub.repositories["me/other"] = {"pytorch_model.bin": b"pickle", "config.json": b"{}"}
    with pytest.raises(CycleGANError, match=r"^hf:me/other is not a model of cyclegan"):
        Translator.load("hf:me/other")
    with pytest.raises(UsageError, match="is not a model on the hub"):
        Translator.load("hf:nobody")
    with pytest.raises(UsageError, match="is not a valid model name on the hub"):
        publish(trained, "red2blue")
    hub.forbidden = True
    with pytest.raises(CycleGANError, match="log in with `hf auth login`"):
        publish(trained, "me/red2blue")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UsageError, match=r'pip install "cyclegan\[hub\]"'):
        Translator.load("hf:me/red2blue")


def test_only_a_loaded_translator_can_be_pushed() -> None:
    with pytest.raises(UsageError, match="not loaded from a run or model"):
        Translator(torch.nn.Identity(), (3, 3)).push_to_hub("me/nothing")
