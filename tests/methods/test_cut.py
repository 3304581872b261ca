"""CUT against plain float64 versions, its blurred networks, and a run from end to end."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from conftest import tensors
from cyclegan import Translator, resume, train, write_report
from cyclegan.config.presets import Environment
from cyclegan.config.resolve import resolve
from cyclegan.config.schema import Config, LossConfig, NetworkConfig
from cyclegan.errors import UsageError
from cyclegan.methods.cut import CUT, PATCHES, info_nce, patches
from cyclegan.methods.registry import method_spec
from cyclegan.networks.layers import BlurDown, BlurUp
from cyclegan.networks.resnet import ResNetGenerator

TINY = NetworkConfig(generator="resnet", generator_width=4, blocks=2, discriminator_width=4, antialias=True)
LAYERS = (0, 4, 8, 13)


def method(**loss: Any) -> CUT:
    torch.manual_seed(0)
    return CUT(TINY, LossConfig(**({"nce_layers": LAYERS} | loss)), (3, 3)).double()


def batch(count: int = 2, size: int = 32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, count, 3, size, size, generator=generator, dtype=torch.float64) * 2 - 1
    return {"A": a, "B": b}


def plain_info_nce(q: Tensor, k: Tensor, temperature: float) -> Tensor:
    """Equation 3 of the paper for every patch of every image, by two loops."""
    losses = []
    for image in range(q.shape[0]):
        for own in range(q.shape[1]):
            scores = [torch.dot(q[image, own], k[image, other]) / temperature for other in range(k.shape[1])]
            losses.append(-scores[own] + torch.logsumexp(torch.stack(scores), 0))
    return torch.stack(losses).mean()


def test_info_nce_and_its_gradient_against_two_loops() -> None:
    torch.manual_seed(0)
    q, k = (nn.functional.normalize(torch.randn(2, 7, 5, dtype=torch.float64), dim=-1) for _ in range(2))
    results = []
    for function in (info_nce, plain_info_nce):
        query = q.clone().requires_grad_()
        value = function(query, k, 0.07)
        results.append((value.detach(), *torch.autograd.grad(value, query)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-12)


def test_info_nce_of_patches_that_are_all_alike_is_the_logarithm_of_their_number() -> None:
    same = torch.ones(1, 9, 4) / 2
    assert info_nce(same, same, 0.07).item() == pytest.approx(math.log(9))


def plain_nce(ours: CUT, source: Tensor, result: Tensor, mirrored: bool) -> Tensor:
    """PatchNCE once more, with layers called one by one."""
    G: Any = ours.generators["G"]
    stem, down, blocks = G.stem, G.down, G.blocks

    def features(x: Tensor) -> list[Tensor]:
        padded = stem[0](x)
        first = down[0][0](stem[3](stem[2](stem[1](padded))))
        second = down[1][0](down[0][3](down[0][2](down[0][1](first))))
        third = blocks[1](blocks[0](down[1][3](down[1][2](down[1][1](second)))))
        return [padded, first, second, third]

    losses = []
    for project, q, k in zip(ours.projections, features(result), features(source), strict=True):
        q = torch.flip(q, [3]) if mirrored else q
        places = torch.randperm(q.shape[2] * q.shape[3])[:PATCHES]
        vectors = []
        for each in (q, k.detach()):
            chosen = torch.stack([each[:, :, p // each.shape[3], p % each.shape[3]] for p in places], 1)
            projected = project(chosen)
            vectors.append(projected / projected.norm(dim=-1, keepdim=True))
        losses.append(_by_matrix(*vectors))
    return sum(losses) / len(losses)  # type: ignore[return-value]


def _by_matrix(q: Tensor, k: Tensor) -> Tensor:
    scores = torch.einsum("npc,nmc->npm", q, k.detach()) / 0.07
    return (torch.logsumexp(scores, 2) - scores.diagonal(dim1=1, dim2=2)).mean()


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("identity", [False, True])
def test_losses_and_gradients_against_the_plain_version(identity: bool, mirrored: bool) -> None:
    ours = method(lambda_nce=3.0, nce_identity=identity, flip_equivariance=mirrored)
    G, D = ours.generators["G"], ours.discriminators["D"]
    x, y = batch()["A"], batch()["B"]
    ours.rng.random = lambda: 0.0  # type: ignore[method-assign]
    parameters = list(ours.generator_parameters())

    torch.manual_seed(3)
    images = ours.generate(batch())
    terms = ours.generators_loss(batch(), images)
    got = torch.autograd.grad(sum(terms.values()), parameters)  # type: ignore[arg-type]

    torch.manual_seed(3)
    turn = (lambda t: torch.flip(t, [3])) if mirrored else (lambda t: t)
    fake, share = G(turn(x)), 1.5 if identity else 3.0
    plain = {"G_GAN": ((D(fake) - 1) ** 2).mean(), "NCE": share * plain_nce(ours, x, fake, mirrored)}
    if identity:
        plain["NCE_Y"] = share * plain_nce(ours, y, G(turn(y)), mirrored)
    wanted = torch.autograd.grad(sum(plain.values()), parameters)  # type: ignore[arg-type]

    assert terms.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(got, wanted, rtol=1e-7, atol=1e-10)

    losses = ours.discriminators_loss(batch(), images)
    torch.testing.assert_close(losses["D_real"], ((D(y) - 1) ** 2).mean() / 2)
    torch.testing.assert_close(losses["D_fake"], (D(fake.detach()) ** 2).mean() / 2)
    gradients = torch.autograd.grad(sum(losses.values()), parameters, allow_unused=True)  # type: ignore[arg-type]
    assert all(g is None for g in gradients)


def test_patches_are_taken_at_their_locations() -> None:
    features = torch.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    taken = patches(features, torch.tensor([7, 0]))
    assert torch.equal(taken[:, 0], features[:, :, 1, 2])
    assert torch.equal(taken[:, 1], features[:, :, 0, 0])


def test_the_published_layers_are_where_the_paper_has_them() -> None:
    """Indices 0, 4, 8, 12, 16: pixels, both strided convolutions, first and fifth residual block."""
    network = ResNetGenerator(width=4, blocks=9, antialias=True)
    shapes = [tuple(f.shape[1:]) for f in network.features(torch.zeros(1, 3, 32, 32), (0, 4, 8, 12, 16))]
    assert shapes == [(3, 38, 38), (8, 32, 32), (16, 16, 16), (16, 8, 8), (16, 8, 8)]
    encoder = network.encoder()
    assert encoder[12] is network.blocks[0]
    assert encoder[16] is network.blocks[4]


def naive_blur(image: np.ndarray[Any, Any], weights: list[float], take: Callable[[int, int], float]) -> float:
    total = sum(weights) ** 2
    return sum(a * b * take(i, j) for i, a in enumerate(weights) for j, b in enumerate(weights)) / total


def test_blurring_down_against_a_double_loop() -> None:
    image = torch.randn(1, 2, 7, 6)
    result = BlurDown(2)(image)
    assert result.shape == (1, 2, 4, 3)
    for c, row, column in ((0, 0, 0), (1, 3, 2), (0, 1, 2)):

        def pixel(i: int, j: int, c: int = c, row: int = row, column: int = column) -> float:
            y, x = abs(2 * row + i - 1), abs(2 * column + j - 1)
            y, x = (6 - abs(6 - y), 5 - abs(5 - x))
            return image[0, c, y, x].item()

        assert result[0, c, row, column].item() == pytest.approx(naive_blur(image.numpy(), [1, 2, 1], pixel), abs=1e-6)


def test_blurring_up_keeps_constants_and_doubles() -> None:
    constant = torch.full((1, 3, 5, 4), 0.7)
    torch.testing.assert_close(BlurUp(3)(constant), torch.full((1, 3, 10, 8), 0.7))
    impulse = torch.zeros(1, 1, 7, 7)
    impulse[0, 0, 3, 3] = 1
    row = BlurUp(1)(impulse)[0, 0].sum(0) / 2
    torch.testing.assert_close(row[5:9], torch.tensor([0.25, 0.75, 0.75, 0.25]))


@pytest.mark.parametrize(("height", "width"), [(33, 50), (7, 5), (64, 64)])
def test_blurred_generators_keep_any_size(height: int, width: int) -> None:
    network = ResNetGenerator(width=4, blocks=1, antialias=True)
    assert network(torch.rand(1, 3, height, width)).shape == (1, 3, height, width)


def test_cut_refuses_other_generators_and_missing_layers() -> None:
    with pytest.raises(UsageError, match="compares features of an encoder, and --generator unet_128 has none"):
        CUT(NetworkConfig(generator="unet_128", generator_width=2), LossConfig(method="cut"), (3, 3))
    with pytest.raises(UsageError, match="--nce-layers must be numbers from 0 to 13"):
        method(nce_layers=(0, 14))


@pytest.fixture
def tiny_cut(tiny: Callable[..., Config]) -> Callable[..., Config]:
    def make(method: Any, **settings: Any) -> Config:
        own = {k: v for k, v in method_spec(method).defaults.items() if not k.startswith("epochs")}
        return tiny(**(own | {"method": method, "blocks": 2, "nce_layers": LAYERS, "ema_decay": 0.5} | settings))

    return make


def test_train_translate_and_report(tiny_cut: Callable[..., Config], data: Path) -> None:
    run = train(tiny_cut("fastcut", max_steps=4))
    terms = set((run / "metrics.csv").read_text().splitlines()[0].split(","))
    assert {"G_GAN", "NCE", "D_real", "D_fake"} <= terms
    with Image.open(data / "testA" / "00.png") as image:
        assert Translator.load(run).translate(image).size == image.size
    with pytest.raises(UsageError, match="AtoB"):
        Translator.load(run, "BtoA")
    page = write_report(run).path.read_text()
    assert ": FastCUT, trained for" in page
    assert "and back" not in page


@pytest.mark.parametrize("method", ["cut", "fastcut"])
def test_resume_is_bit_for_bit(tiny_cut: Callable[..., Config], method: str) -> None:
    straight = train(tiny_cut(method, max_steps=6, schedule="constant", name="straight"))
    parts = train(tiny_cut(method, max_steps=3, schedule="constant", name="parts"))
    resume(parts, max_steps=6)
    a, b = tensors(straight), tensors(parts)
    assert a.keys() == b.keys()
    assert any("projections" in key for key in a)
    assert [key for key in a if not torch.equal(a[key], b[key])] == []


def test_a_light_generator_is_compared_at_layers_that_it_has() -> None:
    spec = method_spec("cut")
    config = resolve("auto", spec, {"generator": "space_to_depth"}, environment=Environment(64, None))
    assert config.loss.nce_layers == (0, 4, 6, 8)
    ours = CUT(config.networks, config.loss, (3, 3))
    images = {name: each.float() for name, each in batch().items()}
    loss = ours.generators_loss(images, ours.generate(images))["NCE"]
    weights = [p for p in ours.generator_parameters() if p.ndim > 1]
    assert all(gradient.any() for gradient in torch.autograd.grad(loss, weights))
