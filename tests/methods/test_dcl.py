"""DCLGAN against a plain float64 version, and a run from end to end."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from conftest import tensors
from cyclegan import Translator, diagnose, evaluate, resume, train, write_report
from cyclegan.config.presets import Environment
from cyclegan.config.resolve import resolve
from cyclegan.config.schema import Config, LossConfig, NetworkConfig
from cyclegan.methods.cut import PATCHES
from cyclegan.methods.dcl import DCLGAN
from cyclegan.methods.specs import DCL

TINY = NetworkConfig(generator="resnet", generator_width=4, blocks=1, discriminator_width=4, antialias=True)


def plain_features(generator: Any, x: Tensor) -> list[Tensor]:
    """Outputs of the second convolution and of the residual block, layer by layer."""
    first = generator.stem[3](generator.stem[2](generator.stem[1](generator.stem[0](x))))
    down = generator.down
    second = down[1][0](down[0][3](down[0][2](down[0][1](down[0][0](first)))))
    return [second, generator.blocks[0](down[1][3](down[1][2](down[1][1](second))))]


def plain_contrast(encoder: Any, image: Tensor, head: Any, other: Any, fake: Tensor, other_head: Any) -> Tensor:
    """Equations 2 and 3: cross entropy of each patch of the translation against the patches of its input."""
    queries = plain_features(other, fake)
    places = [torch.randperm(q.shape[2] * q.shape[3])[:PATCHES] for q in queries]
    losses = []
    for q, k, project_q, project_k, at in zip(
        queries, plain_features(encoder, image), other_head, head, places, strict=True
    ):
        q, k = (project(each.flatten(2)[:, :, at].mT) for project, each in ((project_q, q), (project_k, k.detach())))
        q, k = q / q.norm(dim=-1, keepdim=True), (k / k.norm(dim=-1, keepdim=True)).detach()
        scores = torch.einsum("npc,nmc->npm", q, k) / 0.07
        losses.append((torch.logsumexp(scores, 2) - scores.diagonal(dim1=1, dim2=2)).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("channels", [(3, 3), (1, 4)])
def test_losses_and_gradients_against_the_plain_version(channels: tuple[int, int]) -> None:
    identity = channels[0] == channels[1]
    torch.manual_seed(0)
    loss = LossConfig(
        method="dcl", lambda_nce=3.0, lambda_identity=0.7 * identity, nce_layers=(8, 12), pool_size=0, lambda_gan=1.5
    )
    ours = DCLGAN(TINY, loss, channels).double()
    (G, F), (D_Y, D_X) = ours.generators.values(), ours.discriminators.values()
    H_X, H_Y = ours.projections["H_X"], ours.projections["H_Y"]
    x, y = (torch.rand(2, c, 32, 32, dtype=torch.float64) * 2 - 1 for c in channels)
    batch, parameters = {"A": x, "B": y}, list(ours.generator_parameters())

    torch.manual_seed(3)
    images = ours.generate(batch)
    terms = ours.generators_loss(batch, images)
    got = torch.autograd.grad(sum(terms.values()), parameters)  # type: ignore[arg-type]

    torch.manual_seed(3)
    fake_y, fake_x = G(x), F(y)
    plain = {
        "G_A": 0.75 * ((D_Y(fake_y) - 1) ** 2).mean(),
        "G_B": 0.75 * ((D_X(fake_x) - 1) ** 2).mean(),
        "NCE_A": 1.5 * plain_contrast(G, x, H_X, F, fake_y, H_Y),
        "NCE_B": 1.5 * plain_contrast(F, y, H_Y, G, fake_x, H_X),
    }
    if identity:
        plain |= {"idt_A": 0.35 * (G(y) - y).abs().mean(), "idt_B": 0.35 * (F(x) - x).abs().mean()}
    wanted = torch.autograd.grad(sum(plain.values()), parameters)  # type: ignore[arg-type]
    assert terms.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(got, wanted, rtol=1e-7, atol=1e-10)

    losses = ours.discriminators_loss(batch, images)
    real, fake = (D_Y(y) - 1) ** 2, D_Y(fake_y.detach()) ** 2
    torch.testing.assert_close(losses["D_A"], (real.mean() + fake.mean()) / 2)
    gradients = torch.autograd.grad(sum(losses.values()), parameters, allow_unused=True)  # type: ignore[arg-type]
    assert all(g is None for g in gradients)


def test_short_runs_take_over_the_recipe_and_layers_that_the_encoder_has() -> None:
    config = resolve("auto", DCL, {}, environment=Environment(64, None))
    assert (config.networks.generator, config.networks.discriminator) == ("space_to_depth", "dual")
    DCLGAN(config.networks, config.loss, (3, 3))  # raises if a layer is missing
    assert isinstance(DCLGAN(config.networks, config.loss, (3, 3)).projections["H_Y"], nn.ModuleList)


def test_a_run_resumes_bit_for_bit_and_can_be_used_like_others(tiny: Callable[..., Config]) -> None:
    settings = {"method": "dcl", "nce_layers": (4, 12), "generator": "resnet"}
    settings |= {"lambda_nce": 2.0, "lambda_identity": 1.0, "pool_size": 0, "schedule": "constant"}
    straight = train(tiny(**settings, max_steps=4, name="straight"))
    parts = train(tiny(**settings, max_steps=2, name="parts"))
    resume(parts, max_steps=4)
    a, b = tensors(straight), tensors(parts)
    assert a.keys() == b.keys()
    assert [key for key in a if not torch.equal(a[key], b[key])] == []
    image = torch.zeros(1, 3, 20, 24)
    assert Translator.load(straight, "BtoA").translate(image).shape == image.shape
    assert [each.direction for each in evaluate(straight)] == ["AtoB", "BtoA"]
    diagnose(straight)
    page = write_report(straight).path.read_text()
    assert "DCLGAN, trained for" in page
    assert "PatchNCE" in page
