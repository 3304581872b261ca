"""What a path holds, which weights are read from it, and what a model folder holds."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from cyclegan import Translator, UsageError, configure, resume, train
from cyclegan.config.schema import Config
from cyclegan.errors import CycleGANError
from cyclegan.runs.checkpoint import save_tensors
from cyclegan.runs.folder import identify
from cyclegan.runs.model import read_model
from cyclegan.runs.publish import write_model
from cyclegan.system.machine import peak_memory


def test_runs_checkpoints_models_and_exports_are_told_apart(tiny: Callable[..., Config], tmp_path: Path) -> None:
    run = train(tiny(max_steps=1))
    write_model(read_model(run), tmp_path / "model")
    (tmp_path / "g.onnx").touch()
    assert identify(run) == "run"
    assert identify(run / "checkpoints" / "latest") == "checkpoint"
    assert identify(tmp_path / "model") == "model"
    assert identify(tmp_path / "g.onnx") == "export"
    refused = {
        tmp_path: "is not a run, a checkpoint or a model",
        tmp_path / "gone": "does not exist",
        run / "checkpoints" / "best": "has no checkpoint 'best'; it has latest; 'best' is saved at the first",
    }
    for path, message in refused.items():
        with pytest.raises(UsageError, match=message):
            identify(path)


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_generators_are_read_without_the_discriminators(
    tiny: Callable[..., Config], tmp_path: Path, ema_decay: float
) -> None:
    run = train(tiny(max_steps=2, ema_decay=ema_decay))
    model = read_model(run)
    write_model(model, tmp_path / "model")
    for path in (run, tmp_path / "model"):
        generators = read_model(path, generators_only=True)
        assert generators.weights.keys() == {name for name in model.weights if name.startswith("generators.")}
        assert generators.weights.keys() != model.weights.keys()
        assert all(torch.equal(value, model.weights[name]) for name, value in generators.weights.items())
        assert generators.directions == ("AtoB", "BtoA")


def test_a_model_keeps_the_names_of_domains_and_the_size_it_was_trained_at(
    tiny: Callable[..., Config], tmp_path: Path
) -> None:
    write_model(read_model(train(tiny(max_steps=1))), tmp_path / "model")
    model = read_model(tmp_path / "model")
    assert model.domains == ("red", "blue")
    assert model.trained_size == 32
    assert "| `AtoB` | red, color images | blue, color images |" in (tmp_path / "model" / "README.md").read_text()


def test_files_of_tensors_have_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    save_tensors({"x": torch.zeros(2)}, tmp_path / "x.safetensors")
    (tmp_path / "other").touch()
    assert (tmp_path / "x.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"generator_width": 1000}, r"generators\.\w+\.stem\.1\.weight has the shape \(4, 3, 7, 7\)"),
        ({"generator_width": 10**6}, "--generator-width is 1000000; it must be less than or equal to 10000"),
        ({"blocks": 40}, r"generators\.\w+\.blocks\.1\.\S+ is missing"),
        ({"blocks": 10**9}, "--blocks is 1000000000; it must"),
        ({"discriminator_width": 5000}, r"discriminators\.\w+\.\S+ has the shape"),
    ],
)
def test_sizes_that_the_weights_do_not_have_are_refused_before_anything_is_built(
    tiny: Callable[..., Config], tmp_path: Path, settings: dict[str, int], message: str
) -> None:
    model = tmp_path / "model"
    run = train(tiny(max_steps=1))
    write_model(read_model(run), model)
    content = json.loads((model / "config.json").read_text())
    content["settings"]["networks"] |= settings
    (model / "config.json").write_text(json.dumps(content))
    for name, value in settings.items():
        for file in (run / "config.toml", run / "checkpoints" / "latest" / "config.toml"):
            file.write_text(re.sub(rf"^{name} = \d+", f"{name} = {value}", file.read_text(), flags=re.MULTILINE))
    before = peak_memory(torch.device("cpu"))
    for use in (
        lambda: Translator.load(model),
        lambda: configure("paper", init_from=model),
        lambda: read_model(run, generators_only=True),
        lambda: resume(run, max_steps=2),
    ):
        with pytest.raises(CycleGANError, match=message):
            use()
    assert peak_memory(torch.device("cpu")) - before < 0.2  # GiB


def test_networks_that_cannot_fit_into_memory_are_refused(tiny: Callable[..., Config]) -> None:
    with pytest.raises(CycleGANError, match=r"million parameters, which take .* GiB to train, but .* GiB are free"):
        train(tiny(generator_width=10_000, blocks=100))


def test_a_state_that_is_not_a_table_is_damage(tiny: Callable[..., Config]) -> None:
    run = train(tiny(max_steps=1))
    other = shutil.copytree(run / "checkpoints" / "latest", run / "checkpoints" / "step-0000001")
    (run / "checkpoints" / "latest" / "state.json").write_text("1")
    for use in (lambda: read_model(run), lambda: resume(run, max_steps=2)):
        with pytest.raises(CycleGANError, match=rf"is damaged \(.*\); .* another one.*{other.name}"):
            use()


def test_a_negative_number_in_a_random_state_is_damage(tiny: Callable[..., Config]) -> None:
    run = train(tiny(max_steps=1))
    file = run / "checkpoints" / "latest" / "state.json"
    state = json.loads(file.read_text())
    state["rng"][0][1][7] = -1
    file.write_text(json.dumps(state))
    with pytest.raises(CycleGANError, match="latest is damaged, or does not fit"):
        resume(run, max_steps=2)
