"""Architectures: sizes, shapes, receptive fields, initialization, any input size."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cyclegan.config.schema import NetworkConfig
from cyclegan.errors import UsageError
from cyclegan.networks.discriminator import build_discriminator
from cyclegan.networks.generator import build_generator
from cyclegan.networks.layers import initialize, pad_to_multiple
from cyclegan.networks.patchgan import DualPatchGAN, PatchGAN
from cyclegan.networks.registry import DISCRIMINATORS, GENERATORS


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(("name", "count"), [("resnet_9blocks", 11_378_179), ("resnet_6blocks", 7_837_699)])
def test_generators_have_the_published_number_of_parameters(name: str, count: int) -> None:
    assert parameters(build_generator(NetworkConfig(generator=name), 3, 3)) == count


def test_patchgan_has_the_published_parameters_and_output() -> None:
    network = build_discriminator(NetworkConfig(), 3)
    assert parameters(network) == 2_764_737
    assert network(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


def test_batch_norm_leaves_out_the_biases_it_replaces() -> None:
    generator = build_generator(NetworkConfig(norm="batch", generator_width=8), 3, 3)
    convolutions = [m for m in generator.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert [c.bias is not None for c in convolutions] == [False] * (len(convolutions) - 1) + [True]
    discriminator = build_discriminator(NetworkConfig(norm="batch", discriminator_width=8), 3)
    convolutions = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert [c.bias is not None for c in convolutions] == [True, False, False, False, True]


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_receptive_field_through_gradients(layers: int, field: int) -> None:
    """Without norms, the input pixels with a gradient from one logit are exactly its receptive field."""
    network = PatchGAN(width=4, layers=layers, norm="none")
    for p in network.parameters():
        nn.init.uniform_(p, 0.1, 1.0)  # nothing cancels
    image = torch.rand(1, 3, 192, 192, requires_grad=True)
    logits = network(image)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    assert image.grad is not None
    touched = image.grad.abs().sum(dim=(0, 1))
    rows, columns = torch.nonzero(touched.sum(1)), torch.nonzero(touched.sum(0))
    assert (len(rows), len(columns)) == (field, field)


def test_pixel_discriminator_sees_one_pixel() -> None:
    network = build_discriminator(NetworkConfig(discriminator="pixel", norm="none"), 3)
    image = torch.rand(1, 3, 9, 9, requires_grad=True)
    network(image)[0, 0, 4, 4].backward()
    assert image.grad is not None
    assert torch.nonzero(image.grad.abs().sum((0, 1))).tolist() == [[4, 4]]


def test_dual_discriminator_has_the_logits_of_both_in_equal_shares() -> None:
    network = DualPatchGAN(width=4)
    image = torch.rand(2, 3, 64, 64)
    coarse, fine = network(image).unbind(1)
    assert torch.equal(fine, network.fine(image)[:, 0])
    assert torch.allclose(coarse.mean((1, 2)), network.coarse(image).mean((1, 2, 3)), atol=1e-6)  # 6x6 in 30x30


@pytest.mark.parametrize("name", GENERATORS.names())
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_every_generator_keeps_the_size_and_the_range(name: str, norm: str) -> None:
    given = 3 if name.startswith("attention") else 1  # keeps parts of its input
    network = build_generator(NetworkConfig(generator=name, generator_width=4, blocks=2, norm=norm), given, 3)
    size = 256 if name == "unet_256" else 128
    result = network(torch.rand(2, given, size, size) * 2 - 1)
    assert result.shape == (2, 3, size, size)
    assert result.abs().max() <= 1


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from(
        ["resnet", "resnet_light", "unet_128", "space_to_depth", "space_to_depth_photo", "attention", "recolor"]
    ),
)
def test_generators_keep_any_size(height: int, width: int, name: str) -> None:
    network = build_generator(NetworkConfig(generator=name, generator_width=2, blocks=1), 3, 3)
    with torch.no_grad():
        assert network(torch.zeros(1, 3, height, width)).shape == (1, 3, height, width)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40))
def test_repeated_reflection_equals_numpys(height: int, width: int, min_size: int) -> None:
    import numpy as np

    image = torch.arange(height * width, dtype=torch.float32).reshape(1, 1, height, width)
    longer = pad_to_multiple(image, 4, min_size)[0, 0]
    assert longer.shape[0] % 4 == 0 or longer.shape[0] == min_size
    by_numpy = np.pad(
        image[0, 0].numpy(), [(0, longer.shape[0] - height), (0, longer.shape[1] - width)], mode="reflect"
    )
    assert np.array_equal(longer.numpy(), by_numpy)


@pytest.mark.parametrize("name", DISCRIMINATORS.names())
def test_discriminators_return_logits(name: str) -> None:
    network = build_discriminator(NetworkConfig(discriminator=name, discriminator_width=4), 3)
    logits = network(torch.rand(2, 3, 64, 64))
    assert logits.shape[:2] == (2, {"dual": 2, "projected": 5}.get(name, 1))
    assert not isinstance(list(network.modules())[-1], nn.Sigmoid)


def test_an_image_too_small_for_a_patch_is_an_error() -> None:
    with pytest.raises(UsageError, match="at least 24x24 pixels; this one has 30x20"):
        PatchGAN(width=4)(torch.zeros(1, 3, 20, 30))
    assert PatchGAN(width=4)(torch.zeros(1, 3, 24, 24)).shape == (1, 1, 1, 1)


@pytest.mark.parametrize("init", ["normal", "xavier", "kaiming", "orthogonal"])
def test_initializations_have_the_documented_spread(init: str) -> None:
    torch.manual_seed(0)
    layer, norm = nn.Conv2d(64, 64, 3), nn.BatchNorm2d(4096)
    initialize(nn.ModuleList([layer, norm]), init, 0.02)  # type: ignore[arg-type]
    fan = 64 * 9
    expected = {
        "normal": 0.02,
        "xavier": 0.02 * (2 / (2 * fan)) ** 0.5,
        "kaiming": (2 / fan) ** 0.5,
        "orthogonal": 0.02 / fan**0.5,
    }[init]
    assert layer.weight.std().item() == pytest.approx(expected, rel=0.03)
    assert layer.bias is not None
    assert layer.bias.abs().max() == 0
    assert (norm.weight.mean().item(), norm.weight.std().item()) == pytest.approx((1, 0.02), abs=0.002)


def test_the_space_to_depth_generator_starts_with_small_branches_and_without_a_checkerboard() -> None:
    """Residual branches are small, and the four pixels of each 2x2 block of the output equal."""
    network = build_generator(NetworkConfig(generator="space_to_depth", generator_width=16, blocks=3), 3, 3)
    with torch.no_grad():
        stem = network.stages()[0](torch.rand(1, 3, 32, 32) * 2 - 1)  # type: ignore[index]
        assert (network.blocks(stem) - stem).abs().mean() < 0.3 * stem.abs().mean()  # type: ignore[operator]
        y = network(torch.rand(1, 3, 32, 32) * 2 - 1)
    assert torch.equal(y[..., ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3), y)


@pytest.mark.parametrize(("generator", "sees_contrast"), [("space_to_depth", False), ("space_to_depth_photo", True)])
def test_the_norm_of_the_stem_hides_the_contrast_of_an_image(generator: str, sees_contrast: bool) -> None:
    network = build_generator(NetworkConfig(generator=generator, generator_width=16, blocks=3), 3, 3)
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        change = (network(image) - network(image / 2)).abs().mean()
    assert (change > 0.02) == sees_contrast


@pytest.mark.parametrize("init", ["normal", "orthogonal"])
def test_a_generator_that_initializes_itself_ignores_init(init: str) -> None:
    def weights(**settings_: object) -> torch.Tensor:
        torch.manual_seed(0)
        config = NetworkConfig(generator="space_to_depth", **settings_)  # type: ignore[arg-type]
        return nn.utils.parameters_to_vector(build_generator(config, 3, 3).parameters())

    assert torch.equal(weights(init=init), weights())


def test_the_light_generator_costs_a_fraction() -> None:
    full = build_generator(NetworkConfig(generator="resnet_9blocks"), 3, 3)
    light = build_generator(NetworkConfig(generator="resnet_light", blocks=9), 3, 3)
    assert parameters(light.blocks) < parameters(full.blocks) / 8  # type: ignore[arg-type]
