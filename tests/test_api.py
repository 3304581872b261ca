"""The package's Python interface: its names, and what a translator offers."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cyclegan
from cyclegan import Translator, UsageError, train
from cyclegan.config.schema import Config

MODULES_THAT_SHARE_A_NAME = (
    "evaluation.evaluate",
    "evaluation.compare",
    "translation.export.export",
    "training.trainer",
)


def test_dir_lists_all_names_and_all_of_them_import() -> None:
    assert dir(cyclegan) == sorted(cyclegan.__all__)
    for name in cyclegan.__all__:
        assert getattr(cyclegan, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'tranlsate'"):
        cyclegan.tranlsate  # noqa: B018


def test_names_are_functions_also_after_modules_of_the_same_name_were_imported() -> None:
    for module in ("evaluation.evaluate", "evaluation.compare", "translation.export.export", "diagnosis.diagnose"):
        import_module(f"cyclegan.{module}")
    for name in ("evaluate", "compare", "export", "train", "resume", "diagnose", "check_data", "write_report"):
        assert callable(getattr(cyclegan, name))


@pytest.mark.processes
def test_import_loads_neither_torch_nor_numpy() -> None:
    code = "import sys, cyclegan; dir(cyclegan); sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from conftest import TINY

    runs = tmp_path_factory.mktemp("runs")
    return train(cyclegan.configure("paper", **(TINY | {"data": data, "runs": runs, "max_steps": 2})))


def test_a_translator_describes_itself(trained: Path) -> None:
    there, back = (Translator.load(trained, direction) for direction in ("AtoB", "BtoA"))  # type: ignore[arg-type]
    assert (there.direction, there.domains) == ("AtoB", ("red", "blue"))
    assert (back.direction, back.domains) == ("BtoA", ("blue", "red"))
    assert there.directions == back.directions == ("AtoB", "BtoA")
    assert repr(there).startswith("Translator(AtoB: red to blue, ResNetGenerator with 0.")
    assert f"3 to 3 channels, {there.device}, from {trained}" in repr(there)


def test_a_translator_is_called_like_a_function(trained: Path) -> None:
    translator = Translator.load(trained)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8))
    assert np.array_equal(translator(image), translator.translate(image))
    assert [each.size for each in translator([image, image], size=10)] == [(10, 12), (10, 12)]


def test_a_saved_translator_translates_as_before(trained: Path, tmp_path: Path) -> None:
    translator, images = Translator.load(trained, "BtoA", "cpu"), torch.rand(1, 3, 20, 24)
    translator.save(tmp_path / "model")
    saved = Translator.load(tmp_path / "model")
    assert (saved.direction, saved.directions, saved.domains) == ("BtoA", ("BtoA",), ("blue", "red"))
    assert torch.equal(saved(images), translator(images))
    with pytest.raises(UsageError, match="model exists"):
        translator.save(tmp_path / "model")
    with pytest.raises(UsageError, match="was not loaded from a run or model"):
        Translator(torch.nn.Identity(), (3, 3)).save(tmp_path / "other")


def test_a_translator_moves_to_devices(trained: Path) -> None:
    translator, images = Translator.load(trained, device="cpu"), torch.rand(1, 3, 20, 24)
    before = translator(images)
    assert translator.to("cpu") is translator
    assert torch.equal(translator(images), before)
    with pytest.raises(UsageError, match="device 'abacus' is not available"):
        translator.to("abacus")


def test_a_copy_with_another_generator_leaves_the_original_alone(trained: Path) -> None:
    translator, images = Translator.load(trained, device="cpu"), torch.rand(1, 3, 20, 24)
    before = translator(images)
    assert torch.equal(translator.with_generator(torch.nn.Identity())(images), images)
    assert torch.equal(translator(images), before)


@pytest.mark.processes
def test_exports_send_no_telemetry_and_leave_the_home_folder_empty(
    tiny: Callable[..., Config], tmp_path: Path, data: Path
) -> None:
    pytest.importorskip("openvino")
    run, home = train(tiny(max_steps=1)), tmp_path / "home"
    home.mkdir()
    code = (
        "import os, sys, cyclegan\n"
        f"cyclegan.export({str(run)!r}, 'openvino', {str(tmp_path / 'g.xml')!r}, fixed_size=(32, 32))\n"
        f"cyclegan.Translator.load({str(tmp_path / 'g.xml')!r})\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"HOME": str(home)})
    assert list(home.iterdir()) == []
