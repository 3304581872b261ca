"""Training layers with channels last in memory, compared with PyTorch's in float64."""

import copy

import pytest
import torch
from torch import Tensor, nn

from cyclegan.networks.channels_last import Conv2d, ConvTranspose2d, InstanceNorm2d, is_channels_last

LAST = torch.channels_last


def with_gradients(layer: nn.Module, x: Tensor, upstream: Tensor) -> list[Tensor]:
    """The layer's result, and the gradients of its input and parameters."""
    x = x.detach().requires_grad_()
    y = layer(x)
    return [y.detach(), *torch.autograd.grad(y, [x, *layer.parameters()], upstream)]


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (Conv2d(8, 16, 3, padding=1), (9, 10)),
        (Conv2d(3, 16, 7), (14, 13)),  # few inputs
        (Conv2d(16, 3, 7), (14, 13)),  # few outputs
        (Conv2d(16, 1, 4, padding=1), (7, 7)),
        (Conv2d(64, 128, 4, padding=1), (7, 6)),  # many weights
        (Conv2d(64, 128, 3, stride=2, padding=1), (9, 8)),  # of odd and even sizes
        (Conv2d(64, 128, 4, stride=2, padding=1, bias=False), (9, 8)),
        (ConvTranspose2d(128, 64, 3, stride=2, padding=1, output_padding=1), (5, 6)),
        (ConvTranspose2d(8, 4, 4, stride=2, padding=1), (5, 6)),
        (InstanceNorm2d(16), (6, 5)),
    ],
    ids=str,
)
def test_results_and_gradients_are_pytorchs_up_to_rounding(layer: nn.Module, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    channels = getattr(layer, "in_channels", 16)
    x = torch.randn(2, channels, *size) + 1
    upstream = torch.randn_like(layer(x))
    exact = with_gradients(copy.deepcopy(layer).double(), x.double(), upstream.double())
    last = copy.deepcopy(layer).to(memory_format=LAST)  # type: ignore[call-overload]
    ours = with_gradients(last, x.to(memory_format=LAST), upstream)
    assert ours[0].is_contiguous(memory_format=LAST)
    for value, expected in zip(ours, exact, strict=True):
        torch.testing.assert_close(value, expected.float(), rtol=1e-5, atol=2e-6 * float(expected.abs().max()))


def test_an_image_of_one_channel_is_as_by_default() -> None:
    assert not is_channels_last(torch.ones(2, 1, 4, 4).to(memory_format=LAST))
    assert is_channels_last(torch.ones(2, 2, 4, 4).to(memory_format=LAST))
