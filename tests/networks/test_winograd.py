"""Winograd's convolution against the direct one, its gradients, and where it is used."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import conv2d

from cyclegan.networks import winograd
from cyclegan.networks.resnet import ResNetGenerator
from cyclegan.networks.winograd import MIN_CHANNELS, Conv3x3, Winograd


def direct_and_winograd(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
    """Result and gradients of both, for one random gradient from above."""
    inputs = [t for t in (x, weight, bias) if t is not None]
    upstream = torch.rand_like(conv2d(x, weight, bias)) - 0.5
    both = []
    for convolve in (conv2d, Winograd.apply):
        for each in inputs:
            each.requires_grad_().grad = None
        y = convolve(x, weight, bias)
        both.append([y.detach(), *torch.autograd.grad(y, inputs, upstream)])
    return both[0], both[1]


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 3),
    channels=st.integers(1, 5),
    out=st.integers(1, 5),
    height=st.integers(3, 19),
    width=st.integers(3, 19),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_shape_equals_the_direct_convolution_and_its_gradients(
    n: int, channels: int, out: int, height: int, width: int, bias: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    x = torch.randn(n, channels, height, width, dtype=torch.float64)
    weight = torch.randn(out, channels, 3, 3, dtype=torch.float64)
    direct, ours = direct_and_winograd(x, weight, torch.randn(out, dtype=torch.float64) if bias else None)
    torch.testing.assert_close(ours, direct, rtol=1e-10, atol=1e-10)


def test_single_precision_is_off_by_about_1e_5_of_the_largest_output() -> None:
    torch.manual_seed(0)
    direct, ours = direct_and_winograd(
        torch.randn(2, 256, 18, 18), torch.randn(256, 256, 3, 3) * 0.02, torch.randn(256)
    )
    for a, b in zip(direct, ours, strict=True):
        assert (a - b).abs().max() < 3e-5 * a.abs().max()


def test_results_of_one_call_survive_the_next() -> None:
    """Scratch memory is shared between calls; what is returned must not be."""
    x, weight = torch.randn(1, 1, 3, 3), torch.randn(1, 1, 3, 3)
    y = Winograd.apply(x, weight, None)
    before = y.clone()
    Winograd.apply(torch.randn(1, 1, 3, 3), torch.randn(1, 1, 3, 3), None)
    assert torch.equal(y, before)


def test_buffers_from_inference_mode_can_be_used_in_training() -> None:
    weight = torch.randn(2, 2, 3, 3, requires_grad=True)
    with torch.inference_mode():
        Winograd.apply(torch.randn(1, 2, 40, 40), weight, None)
    Winograd.apply(torch.randn(1, 2, 44, 44), weight, None).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("allowed", [True, False])
def test_generators_use_it_where_faster_and_enabled(allowed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    original = winograd._transformed_kernel
    monkeypatch.setattr(winograd, "_transformed_kernel", lambda weight: used.append(len(weight)) or original(weight))
    network = ResNetGenerator(width=MIN_CHANNELS // 4, blocks=2)
    winograd.set_winograd(network, allowed)
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    y = network(x)
    assert used == [MIN_CHANNELS] * 4 * allowed
    used.clear()
    network.double()(x.double())
    assert used == []  # double precision is for those who want exactness
    winograd.set_winograd(network, not allowed)
    torch.testing.assert_close(network.float()(x), y, rtol=0, atol=1e-4)


def test_few_channels_are_convolved_directly() -> None:
    layer = Conv3x3(8, 8)
    x = torch.rand(1, 8, 10, 10)
    assert torch.equal(layer(x), conv2d(x, layer.weight, layer.bias))
