"""The ComfyUI node, used as ComfyUI's documentation of schema V1 says."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from cyclegan import Translator
from cyclegan.config.schema import Config
from cyclegan.training.trainer import train

FOLDER = Path(__file__).parents[1] / "integrations" / "comfyui"


@pytest.fixture
def package() -> ModuleType:
    """The node's folder, loaded as ComfyUI does: as a package named after its path."""
    spec = importlib.util.spec_from_file_location("custom_nodes.comfyui", FOLDER / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_node_keeps_comfyuis_interface_and_translates_as_the_translator(
    package: ModuleType, tiny: Callable[..., Config]
) -> None:
    run = str(train(tiny(max_steps=1, measure_every=0)))
    assert package.NODE_CLASS_MAPPINGS.keys() == package.NODE_DISPLAY_NAME_MAPPINGS.keys()
    (node,) = package.NODE_CLASS_MAPPINGS.values()
    assert node.RETURN_TYPES == ("IMAGE",) and len(node.RETURN_NAMES) == 1
    declared = {**node.INPUT_TYPES()["required"], **node.INPUT_TYPES()["optional"]}
    inputs = {name: settings["default"] for name, (_, settings) in declared.items() if "default" in settings}
    images = torch.rand(2, 20, 28, 3, generator=torch.Generator().manual_seed(0))
    inputs |= {"image": images, "model": run, "direction": "blue2red"}
    assert node.VALIDATE_INPUTS(run, "blue2red") is True
    assert "translates AtoB (red2blue) and BtoA (blue2red) only" in node.VALIDATE_INPUTS(run, "sideways")
    assert "does not exist" in node.VALIDATE_INPUTS(run + "/gone")
    assert node.VALIDATE_INPUTS(None, "") is True  # a model from another node is not known yet
    assert node.IS_CHANGED(**inputs | {"model": None}) != node.IS_CHANGED(**inputs | {"model": None})
    (result,) = getattr(node(), node.FUNCTION)(**inputs)
    expected = Translator.load(run, "BtoA").translate(images.permute(0, 3, 1, 2) * 2 - 1)
    torch.testing.assert_close(result, (expected.permute(0, 2, 3, 1) + 1) / 2, rtol=0, atol=1e-6)
    assert result.shape == images.shape and result.dtype == torch.float32
    (smaller,) = getattr(node(), node.FUNCTION)(**inputs | {"size": 10})
    assert smaller.shape == (2, 10, 14, 3)
    before = node.IS_CHANGED(**inputs)
    (Path(run) / "checkpoints" / "latest" / "state.json").touch()
    assert node.IS_CHANGED(**inputs) > before
