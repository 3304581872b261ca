"""The generator of color matrices: its equation."""

import torch

from cyclegan.config.schema import NetworkConfig
from cyclegan.networks.generator import build_generator
from cyclegan.networks.recolor import RecolorGenerator


def test_each_pixel_is_recolored_by_its_own_matrix() -> None:
    torch.manual_seed(0)
    G = build_generator(NetworkConfig(generator="recolor", generator_width=4, blocks=1), 3, 2).double()
    assert isinstance(G, RecolorGenerator)
    x, y = torch.rand(2, 3, 6, 5, dtype=torch.float64), torch.randn(2, 8, 6, 5, dtype=torch.float64)
    color, matrix = y[:, :2], y[:, 2:].reshape(2, 2, 3, 6, 5)
    expected = torch.tanh(color + torch.einsum("nocyx,ncyx->noyx", matrix, x))
    torch.testing.assert_close(G.decode(x, y), expected)
    assert G.network(x)[:, 2:].abs().max() == 0  # at the start it paints, and recolors nothing
    torch.testing.assert_close(G(x), torch.tanh(G.network(x)[:, :2]))
