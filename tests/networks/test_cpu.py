"""Generators rewritten for translation on CPUs: the same numbers, and where they are used."""

import copy
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cyclegan.config.schema import NetworkConfig
from cyclegan.networks import winograd
from cyclegan.networks.cpu import fused as pending
from cyclegan.networks.cpu import layers
from cyclegan.networks.cpu import rewrite as inference
from cyclegan.networks.cpu import winograd_tiles as tiles
from cyclegan.networks.cpu.fused import DeferredEpilogue
from cyclegan.networks.cpu.layers import DirectConv, FewOutputsConv, Layer
from cyclegan.networks.cpu.rewrite import rewrite_for_cpu
from cyclegan.networks.cpu.winograd_tiles import WinogradConv, WinogradPlan
from cyclegan.networks.generator import Generator, build_generator
from cyclegan.networks.layers import ChannelScale
from cyclegan.networks.registry import GENERATORS
from cyclegan.networks.resnet import ResNetGenerator
from cyclegan.networks.space_to_depth import SpaceToDepthGenerator
from cyclegan.networks.winograd import matrices
from cyclegan.translation.translator import Translator

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "antialiased": {"antialias": True},
    "light": {"separable": True},
    "batch norm": {"norm": "batch"},
    "no norm": {"norm": "none"},
    "no norm, antialiased": {"norm": "none", "antialias": True},
    "dropout": {"dropout": True},
    "other channels": {"in_channels": 1, "out_channels": 5},
    "many outputs": {"out_channels": 9},
}


def generator(**settings: Any) -> ResNetGenerator:
    torch.manual_seed(0)
    network = ResNetGenerator(**({"width": 16, "blocks": 2} | settings)).eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:  # biases and scales that show when they are lost
            nn.init.normal_(parameter, 0.5, 0.3)
    winograd.set_winograd(network, False)
    return network


def largest_difference(network: Generator, shape: tuple[int, ...]) -> float:
    x = torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        expected, y = network(x), rewrite_for_cpu(network)(x)
    assert y.shape == expected.shape
    return (y - expected).abs().max().item()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_numbers(kind: str) -> None:
    network = generator(**KINDS[kind])
    channels = network.stem[1].in_channels
    assert largest_difference(network, (2, channels, 52, 37)) < 5e-5


@settings(max_examples=15, deadline=None)
@given(n=st.integers(1, 2), height=st.integers(2, 60), width=st.integers(2, 60), antialias=st.booleans())
def test_any_size_and_batch_gives_the_same_numbers(n: int, height: int, width: int, antialias: bool) -> None:
    """Not 1x1: instance norm makes of a flat image what rounding left of it, here as in PyTorch."""
    assert largest_difference(generator(blocks=1, antialias=antialias), (n, 3, height, width)) < 2e-4


def test_the_paper_s_width_gives_the_same_numbers() -> None:
    torch.manual_seed(0)
    network = build_generator(NetworkConfig(generator="resnet", blocks=3), 3, 3).eval()  # three blocks, for time's sake
    winograd.set_winograd(network, False)
    assert largest_difference(network, (1, 3, 72, 96)) < 3e-4


@pytest.mark.parametrize("name", GENERATORS.names())
def test_every_registered_generator_gives_the_same_numbers(name: str) -> None:
    config = NetworkConfig(generator=name, generator_width=8, blocks=1)  # type: ignore[arg-type]
    assert largest_difference(build_generator(config, 3, 3).eval(), (1, 3, 33, 40)) < 5e-5


@pytest.mark.parametrize("width", [8, 64])  # without and with Winograd's algorithm
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_scales_of_channels_are_folded_into_the_convolutions_before(norm: str, width: int) -> None:
    torch.manual_seed(0)
    network = SpaceToDepthGenerator(1, 3, width=width, blocks=2, norm=norm).eval()
    for module in network.modules():
        if isinstance(module, ChannelScale):
            nn.init.normal_(module.scale)
    winograd.set_winograd(network, False)
    assert largest_difference(network, (2, 1, 51, 37)) < 5e-5


def test_a_generator_with_active_dropout_is_not_rewritten() -> None:
    settings_ = {"generator": "resnet", "dropout": True, "dropout_at_test": True}
    network = build_generator(NetworkConfig(generator_width=8, blocks=1, **settings_), 3, 3)  # type: ignore[arg-type]
    assert rewrite_for_cpu(network) is network


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_u_net_shares_its_weights_and_keeps_its_noise(norm: str) -> None:
    torch.manual_seed(0)
    settings_ = {"generator": "unet_64", "norm": norm, "dropout": True, "dropout_at_test": True}
    network = build_generator(NetworkConfig(generator_width=8, **settings_), 3, 3).eval()  # type: ignore[arg-type]
    for parameter in network.parameters():
        nn.init.normal_(parameter, 0.05, 0.2)
    fast = rewrite_for_cpu(network)
    assert {id(p) for p in fast.parameters()} == {id(p) for p in network.parameters()}
    for shape in ((2, 3, 64, 128), (1, 3, 70, 40)):
        assert largest_difference(network, shape) < 5e-5


def test_gradients_and_other_precisions_use_the_original_generator() -> None:
    network = generator()
    fast = rewrite_for_cpu(network)
    x = torch.rand(1, 3, 16, 16) * 2 - 1
    assert fast(x).requires_grad
    assert torch.equal(fast(x), network(x))
    with torch.inference_mode():
        assert torch.equal(fast.double()(x.double()), network(x.double()))


def test_the_original_generator_is_unchanged() -> None:
    network = generator()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    largest_difference(network, (1, 3, 16, 16))
    after = network.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) and after[name].is_contiguous() for name in before)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_later_changes_to_the_generator_have_no_effect() -> None:
    network = generator(norm="batch")
    fast = rewrite_for_cpu(network)
    x = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        before = fast(x)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        assert torch.equal(fast(x), before)


def test_results_of_one_call_survive_the_next() -> None:
    """Scratch memory is shared between calls; what is returned must not be."""
    fast = rewrite_for_cpu(generator(norm="none"))
    with torch.inference_mode():
        y = fast(torch.rand(1, 3, 16, 16))
        before = y.clone()
        fast(torch.rand(1, 3, 16, 16))
    assert torch.equal(y, before)


def applied(layer: Layer, x: Tensor) -> Tensor:
    """A layer of a rewritten generator on one image (1, C, H, W), in memory of its own."""
    return layer(DeferredEpilogue(x[0].permute(1, 2, 0))).tensor().clone()


def relative_errors(steps: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    """Of Winograd's way and of PyTorch's, in parts of the largest output, against double precision."""
    monkeypatch.setattr(tiles, "best_steps", lambda height, width: steps)
    torch.manual_seed(0)
    conv = nn.Conv2d(256, 64, 3, padding=1)
    x = torch.randn(1, 256, 25, 31)
    with torch.inference_mode():
        y = applied(WinogradConv(conv, reflect=False, bias=True), x)
        direct = conv(x)
        exact = conv.double()(x.double())
    return tuple(((r - exact).abs().max() / exact.abs().max()).item() for r in (y, direct))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("steps", "most"), [((4, 4), 1e-5), ((6, 6), 2e-5), ((8, 4), 3e-5), ((8, 6), 5e-5), ((6, 8), 5e-5)]
)
def test_single_precision_error(steps: tuple[int, int], most: float, monkeypatch: pytest.MonkeyPatch) -> None:
    error, direct = relative_errors(steps, monkeypatch)
    assert error < most
    assert direct < 1e-5


@pytest.mark.parametrize("m", [4, 6, 8])
def test_the_transforms_convolve_exactly(m: int) -> None:
    """Against the definition, in double precision: result = A^T [(G g) * (B^T d)]."""
    image, kernel, result = matrices(m)
    draw = torch.Generator().manual_seed(m)
    d, g = (torch.randint(-9, 9, (n,), generator=draw).double() for n in (m + 2, 3))
    expected = d.unfold(0, 3, 1) @ g
    assert torch.allclose(result @ ((kernel @ g) * (image @ d)), expected, rtol=0, atol=1e-10)


def test_steps_with_the_fewest_products_are_chosen() -> None:
    assert tiles.best_steps(64, 64) == (8, 6)  # of a 256x256 image
    assert tiles.best_steps(32, 32) == (8, 4)  # of a 128x128 image, where 6 does not divide well
    assert tiles.best_steps(36, 64) == (6, 8)
    assert tiles.best_steps(2, 2) == (4, 4)


def test_kernels_are_transformed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []

    class Counted(WinogradPlan):
        def __init__(self, steps: tuple[int, int], weight: Tensor):
            made.append(steps)
            super().__init__(steps, weight)

    monkeypatch.setattr(tiles, "WinogradPlan", Counted)
    fast = rewrite_for_cpu(generator())
    with torch.inference_mode():
        for _ in range(2):
            fast(torch.rand(1, 3, 32, 32))
    assert made == [(8, 4)] * 4


@pytest.mark.parametrize(("outputs", "bias"), [(1, True), (3, False), (8, True)])
def test_a_convolution_with_few_outputs_equals_pytorch_s(outputs: int, bias: bool) -> None:
    conv = nn.Conv2d(5, outputs, 7, bias=bias)
    x = torch.randn(1, 5, 11, 16)
    with torch.inference_mode():
        expected = conv(nn.ReflectionPad2d(3)(x))
        torch.testing.assert_close(applied(FewOutputsConv(conv, border=3), x), expected, rtol=0, atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(3, 20),
    width=st.integers(3, 20),
    kernel=st.sampled_from([1, 3]),
    stride=st.integers(1, 2),
    transposed=st.booleans(),
    reflect=st.booleans(),
)
def test_direct_convolutions_in_strips_of_two_rows_equal_pytorch_s(
    height: int, width: int, kernel: int, stride: int, transposed: bool, reflect: bool
) -> None:
    torch.manual_seed(0)
    if transposed:
        conv: nn.Conv2d | nn.ConvTranspose2d = nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1)
        border = 0
    else:
        border = kernel // 2 if reflect else 0
        conv = nn.Conv2d(3, 4, kernel, stride, padding=kernel // 2 - border)
    x = torch.randn(1, 3, height, width)
    expected = copy.deepcopy(conv).double()(nn.ReflectionPad2d(border)(x.double())).float()
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(layers, "STRIP_BYTES", 1)
        torch.testing.assert_close(applied(DirectConv(conv, border), x), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_large_images_in_strips_give_the_same_numbers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in scratch memory must not be written over while it is read."""
    for module, name in ((layers, "STRIP_BYTES"), (pending, "STRIP_BYTES"), (tiles, "STRIP")):
        monkeypatch.setattr(module, name, 1)
    network = generator(**KINDS[kind])
    assert largest_difference(network, (1, network.stem[1].in_channels, 40, 28)) < 5e-5


def test_large_scratch_buffers_are_released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "MAX_SCRATCH", 2**17)
    winograd.scratch.release()
    largest_difference(generator(), (1, 3, 64, 64))
    assert winograd.scratch.buffers
    assert all(buffer.nbytes <= 2**17 for buffer in winograd.scratch.buffers.values())


@given(
    height=st.integers(4, 20),
    width=st.integers(4, 20),
    border=st.integers(0, 3),
    reflect=st.booleans(),
    scaled=st.booleans(),
    summed=st.booleans(),
    rectified=st.booleans(),
)
def test_deferred_operations_are_applied_in_the_copy(
    height: int, width: int, border: int, reflect: bool, scaled: bool, summed: bool, rectified: bool
) -> None:
    """Against each step on its own, in the order that the class tells; strips are of one row here."""
    values, scale, shift = torch.randn(height, width, 3), torch.randn(3), torch.randn(3)
    residual = torch.randn(height, width, 3)
    expected = values * scale + shift if scaled else values
    expected = expected + residual if summed else expected
    expected = expected.relu() if rectified else expected
    padding = nn.ReflectionPad2d(border) if reflect else nn.ZeroPad2d(border)
    bordered = nn.ZeroPad2d((0, 2, 0, 1))(padding(expected.permute(2, 0, 1)[None]))[0].permute(1, 2, 0)

    waiting = (scale, shift) if scaled else (None, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pending, "STRIP_BYTES", 1)
        x = DeferredEpilogue(values, *waiting, residual if summed else None, rectified)
        sheet = x.padded(border, reflect, height + 2 * border + 1, width + 2 * border + 2).clone()
        torch.testing.assert_close(sheet, bordered, rtol=0, atol=1e-6)
        if summed:
            x.write(residual)  # the sum of a block over that of the one before
            torch.testing.assert_close(residual, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("used", [True, False])
def test_the_translator_uses_it_by_default(used: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = WinogradConv.__call__
    monkeypatch.setattr(WinogradConv, "__call__", lambda self, x: calls.append(1) or original(self, x))
    network = generator()
    translator = Translator(network, (3, 3), winograd=used)
    x = torch.rand(3, 24, 20) * 2 - 1
    y = translator.translate(x)
    assert len(calls) == 4 * used
    assert translator.generator is network
    expected = network(x[None])[0]
    assert torch.equal(y, expected) if not used else (y - expected).abs().max() < 5e-5


def test_strips_of_any_height_give_the_same_image(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = WinogradConv(nn.Conv2d(4, 4, 3, padding=1), reflect=False, bias=True)
    x = torch.randn(1, 4, 41, 30)
    results = []
    with torch.inference_mode():
        for strip in (1, 17, math.inf):
            monkeypatch.setattr(tiles, "STRIP", min(strip, 10**6))
            results.append(applied(layer, x))
    for each in results[1:]:
        torch.testing.assert_close(each, results[0], rtol=0, atol=1e-5)
