"""Translation in bands of rows: equal to the whole image's, for any size and any band."""

import pytest
import torch
from cyclegan.translation.tiles import Kept, Walk, Whole, translate_in_bands
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cyclegan.errors import UsageError
from cyclegan.networks import ResNetGenerator, SeparableResidualBlock, winograd
from cyclegan.networks.layers import Dropout, initialise


def generator(width: int = 4, **settings: object) -> ResNetGenerator:
    torch.manual_seed(0)
    network = ResNetGenerator(width=width, blocks=2, **settings)  # type: ignore[arg-type]
    initialise(network, "normal", 0.02)
    return network.eval()


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(4, 90),  # in fewer pixels nothing varies, and normalising magnifies the rounding
    width=st.integers(4, 90),
    memory=st.sampled_from([1 << 12, 1 << 16, 1 << 19, 1 << 24]),
    light=st.booleans(),
)
def test_any_size_and_budget_gives_the_whole_images_result(height: int, width: int, memory: int, light: bool) -> None:
    network = generator(**({"block": SeparableResidualBlock} if light else {}))
    image = torch.rand(3, height, width) * 2 - 1
    with torch.no_grad():
        whole = network(image[None])[0]
    torch.testing.assert_close(translate_in_bands(network, image, memory), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(257, 301), (1000, 37)])
@pytest.mark.parametrize(("fast", "tolerance"), [(False, 1e-5), (True, 1e-4)])  # Winograd's way rounds more
def test_the_papers_width(height: int, width: int, fast: bool, tolerance: float) -> None:
    network = generator(64)
    winograd.allow(network, fast)
    image = torch.rand(3, height, width) * 2 - 1
    with torch.no_grad():
        whole = network(image[None])[0]
    for memory in (1 << 22, 1 << 28):
        torch.testing.assert_close(translate_in_bands(network, image, memory), whole, rtol=0, atol=tolerance)


def test_batch_norm_and_no_norm_are_walked_as_well() -> None:
    image = torch.rand(3, 41, 30)
    for norm in ("batch", "none"):
        network = generator(norm=norm)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight)
                nn.init.uniform_(module.bias)
        with torch.no_grad():
            whole = network(image[None])[0]
        torch.testing.assert_close(translate_in_bands(network, image, 1 << 14), whole, rtol=0, atol=1e-5)


def test_statistics_are_sound_for_a_large_mean() -> None:
    """A mean of 10,000 beside a deviation of 1: naive sums of squares in single precision would be lost."""
    array = torch.randn(2, 64, 50) + 10_000
    walk = Walk(1 << 12, full_height=1, tell=lambda: None)
    normalised = walk.through(nn.InstanceNorm2d(2), Whole(array)).rows(0, 64)[0].double()
    exact = nn.functional.instance_norm(array.double()[None])[0]
    torch.testing.assert_close(normalised, exact, rtol=0, atol=2e-3)  # the numbers themselves are rounded to 1e-3


@pytest.mark.parametrize("on_disk", [False, True])
def test_kept_arrays_come_back_as_they_were(on_disk: bool) -> None:
    array = torch.randn(5, 23, 7)
    kept = Kept(Whole(array), Walk(1, 1, lambda: None).bands, on_disk)
    for first, end in ((0, 23), (3, 4), (20, 23)):
        assert torch.equal(kept.rows(first, end)[0], array[:, first:end])


def test_what_cannot_be_walked_is_named() -> None:
    noisy = generator(dropout=True)
    for module in noisy.modules():
        if isinstance(module, Dropout):
            module.noise_seed = 1
    with pytest.raises(UsageError, match="Dropout cannot be walked"):
        translate_in_bands(noisy, torch.rand(3, 16, 16), 1 << 20)
    with pytest.raises(UsageError, match="MaxPool2d cannot be walked"):
        Walk(1, 1, lambda: None).through(nn.MaxPool2d(2), Whole(torch.rand(3, 8, 8)))
