"""The attention generator: its equation, and masks wherever users meet them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import run
from cyclegan import Translator, train, write_report
from cyclegan.config.schema import Config, NetworkConfig
from cyclegan.errors import UsageError
from cyclegan.networks.attention import LARGEST, AttentionGenerator
from cyclegan.networks.generator import build_generator


def network(masks: int) -> AttentionGenerator:
    torch.manual_seed(0)
    config = NetworkConfig(generator="attention", generator_width=4, blocks=1, attention_masks=masks)
    built = build_generator(config, 3, 3)
    assert isinstance(built, AttentionGenerator)
    return built.double().eval()


@pytest.mark.parametrize("masks", [1, 3])
def test_the_result_is_the_input_and_the_contents_weighted_by_the_masks(masks: int) -> None:
    G, x = network(masks), torch.rand(2, 3, 12, 10, dtype=torch.float64) * 2 - 1
    y = G.network(x)
    logits = y[:, : masks + 1]
    weights = ((1 + LARGEST * logits) / (1 - LARGEST * logits)).sqrt()  # exp(atanh(y))
    weights = weights / weights.sum(1, keepdim=True)
    expected = weights[:, :1] * x
    for k in range(masks):
        expected = expected + weights[:, k + 1 : k + 2] * y[:, masks + 1 + 3 * k : masks + 4 + 3 * k]
    torch.testing.assert_close(G(x), expected, rtol=1e-5, atol=1e-6)  # masks are computed in single precision


def test_where_the_input_has_all_the_weight_it_is_kept() -> None:
    G, x = network(1), torch.rand(1, 3, 4, 4, dtype=torch.float64)
    y = torch.rand(1, 5, 4, 4, dtype=torch.float64)
    y[:, 0], y[:, 1] = 1, -1
    torch.testing.assert_close(G.decode(x, y), x, rtol=0, atol=0.005)


def test_masks_that_keep_all_still_learn() -> None:
    z = torch.full((1, 5, 4, 4), 5.0)
    z[:, 1] = -5
    z.requires_grad_()
    network(1).decode(torch.zeros(1, 3, 4, 4), z.tanh()).sum().backward()
    assert z.grad is not None
    assert (z.grad[:, :2].abs() > 1e-6).all()


def test_unequal_channels_are_refused() -> None:
    with pytest.raises(UsageError, match="keeps parts of its input, which has 1 channels and not 3"):
        build_generator(NetworkConfig(generator="attention"), 1, 3)


def test_masks_are_in_samples_report_and_translate(tiny: Callable[..., Config], data: Path, tmp_path: Path) -> None:
    trained = train(tiny(generator="attention", attention_masks=2, max_steps=1, measure_every=0, name="r"))
    with Image.open(next((trained / "samples").glob("*AtoB.png"))) as grid:
        assert "mask" in str(grid.text)  # type: ignore[attr-defined]
    assert "mask (black: the input is kept)" in write_report(trained).path.read_text()
    source = data / "testA" / "00.png"
    done = run("translate", trained, source, "-o", tmp_path / "out", "--save-masks", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["00-mask1.png", "00-mask2.png", "00.png"]
    translator = Translator.load(trained)
    with Image.open(source) as image, Image.open(tmp_path / "out" / "00-mask2.png") as mask:
        expected = np.asarray(translator.masks().translate(np.asarray(image)))[..., 1]
        assert np.array_equal(np.asarray(mask), expected)
    G = translator.generator
    assert isinstance(G, AttentionGenerator)
    plain = translator.with_generator(G.network)
    with pytest.raises(UsageError, match="has no masks; train with --generator attention"):
        plain.masks()
