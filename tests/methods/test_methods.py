"""CycleGAN's losses against a plain float64 version, the history's rule, frozen sides, fused passes."""

import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from cyclegan.config.schema import LossConfig, NetworkConfig
from cyclegan.methods.cyclegan import CycleGAN
from cyclegan.methods.history import ImageHistory
from cyclegan.methods.losses import OBJECTIVES, gradient_penalty
from cyclegan.methods.method import forward_batched, total
from cyclegan.networks.patchgan import PatchGAN
from cyclegan.networks.resnet import ResNetGenerator

TINY = NetworkConfig(generator="resnet", generator_width=4, blocks=1, discriminator_width=4)


def method(**loss: object) -> CycleGAN:
    torch.manual_seed(0)
    return CycleGAN(TINY, LossConfig(**loss), (3, 3)).double()  # type: ignore[arg-type]


def batch(count: int = 2, size: int = 32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, count, 3, size, size, generator=generator, dtype=torch.float64) * 2 - 1
    return {"A": a, "B": b}


def plain_objective(name: str, side: str, *logits: Tensor) -> Tensor:
    """Each objective once more, straight from its paper."""
    if name == "lsgan":
        real = lambda d: ((d - 1) ** 2).mean()  # noqa: E731
        return real(logits[0]) if side == "G" else 0.5 * (real(logits[0]) + (logits[1] ** 2).mean())
    if name == "vanilla":
        p = [torch.sigmoid(d) for d in logits]
        if side == "G":
            return binary_cross_entropy(p[0], torch.ones_like(p[0]))
        fake = binary_cross_entropy(p[1], torch.zeros_like(p[1]))
        return 0.5 * (binary_cross_entropy(p[0], torch.ones_like(p[0])) + fake)
    if name == "minimax":
        of_fake = torch.log(1 - torch.sigmoid(logits[-1])).mean()
        return of_fake if side == "G" else -(torch.log(torch.sigmoid(logits[0])).mean() + of_fake)
    if side == "G":
        return -logits[0].mean()
    if name == "wgangp":
        return -(logits[0].mean() - logits[1].mean())
    return 0.5 * ((1 - logits[0]).clamp(min=0).mean() + (1 + logits[1]).clamp(min=0).mean())


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("identity", [0.0, 0.5])
def test_generator_losses_and_gradients_against_the_plain_version(objective: str, identity: float) -> None:
    ours = method(objective=objective, lambda_a=10.0, lambda_b=7.0, lambda_identity=identity)
    G, F = ours.generators["G"], ours.generators["F"]
    D_Y, D_X = ours.discriminators["D_Y"], ours.discriminators["D_X"]
    x, y = batch()["A"], batch()["B"]
    images = ours.generate(batch())
    terms = ours.generators_loss(batch(), images)
    sum(terms.values()).backward()  # type: ignore[union-attr]
    got = [p.grad.clone() for p in ours.generators.parameters() if p.grad is not None]

    ours.zero_grad()
    plain = {
        "G_A": plain_objective(objective, "G", D_Y(G(x))),
        "G_B": plain_objective(objective, "G", D_X(F(y))),
        "cycle_A": 10 * torch.mean(torch.abs(F(G(x)) - x)),
        "cycle_B": 7 * torch.mean(torch.abs(G(F(y)) - y)),
    }
    if identity:
        plain["idt_A"] = 0.5 * 7 * torch.mean(torch.abs(G(y) - y))
        plain["idt_B"] = 0.5 * 10 * torch.mean(torch.abs(F(x) - x))
    sum(plain.values()).backward()  # type: ignore[union-attr]
    wanted = [p.grad for p in ours.generators.parameters() if p.grad is not None]

    assert terms.keys() == plain.keys()
    for name, value in plain.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(got, wanted, rtol=1e-7, atol=1e-10)
    torch.testing.assert_close(images["B"], G(x))


@pytest.mark.parametrize("objective", ["lsgan", "vanilla", "minimax", "hinge"])
def test_discriminator_losses_and_gradients_against_the_plain_version(objective: str) -> None:
    ours = method(objective=objective, pool_size=0)
    D_Y, D_X = ours.discriminators["D_Y"], ours.discriminators["D_X"]
    real = batch()
    fakes = {"A": real["B"].flip(-1) * 0.7, "B": real["A"].flip(-1) * 0.7}
    terms = ours.discriminators_loss(real, fakes)
    sum(terms.values()).backward()  # type: ignore[union-attr]
    got = [p.grad.clone() for p in ours.discriminators.parameters() if p.grad is not None]
    ours.zero_grad()
    plain = {
        "D_A": plain_objective(objective, "D", D_Y(real["B"]), D_Y(fakes["B"])),
        "D_B": plain_objective(objective, "D", D_X(real["A"]), D_X(fakes["A"])),
    }
    sum(plain.values()).backward()  # type: ignore[union-attr]
    for name, value in plain.items():
        torch.testing.assert_close(terms[name], value, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(got, [p.grad for p in ours.discriminators.parameters()], rtol=1e-7, atol=1e-10)


def test_wgangp_adds_the_penalty() -> None:
    ours = method(objective="wgangp", pool_size=0, lambda_gp=3.0)
    real = batch()
    torch.manual_seed(5)
    terms = ours.discriminators_loss(real, {"A": real["B"], "B": real["A"]})
    torch.manual_seed(5)
    for name, D, r, f in (("D_A", "D_Y", "B", "A"), ("D_B", "D_X", "A", "B")):
        critic = ours.discriminators[D]
        penalty = gradient_penalty(critic, real[r], real[f])
        expected = critic(real[f]).mean() - critic(real[r]).mean() + 3 * penalty
        torch.testing.assert_close(terms[name], expected)


def test_gradient_penalty_of_a_linear_critic_is_known() -> None:
    """The gradient of a linear map is its weight, wherever it is taken."""
    critic = nn.Sequential(nn.Flatten(), nn.Linear(12, 1)).double()
    real, fake = torch.rand(2, 5, 3, 2, 2, dtype=torch.float64)
    expected = (critic[1].weight.norm() - 1) ** 2
    torch.testing.assert_close(gradient_penalty(critic, real, fake), expected)


def test_gradient_penalty_by_finite_differences() -> None:
    torch.manual_seed(0)
    critic = PatchGAN(width=2, layers=1, norm="none").double()
    image = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    penalty = gradient_penalty(critic, image, image)  # both ends alike: the point between them is known
    slopes = []
    for i in range(image.numel()):
        step = torch.zeros(image.numel(), dtype=torch.float64)
        step[i] = 1e-6
        step = step.reshape(image.shape)
        slopes.append((critic(image + step).sum() - critic(image - step).sum()) / 2e-6)
    expected = (torch.stack(slopes).norm() - 1) ** 2
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_identity_loss_falls_linearly_to_zero_and_is_then_not_computed() -> None:
    ours, constant = method(identity_until=0.4), method()
    constant.load_state_dict(ours.state_dict())
    expected = constant.generators_loss(batch(), constant.generate(batch()))
    for ours.progress, share in ((0.0, 1.0), (0.1, 0.75), (0.4, 0.0), (0.9, 0.0)):
        images = ours.generate(batch())
        terms = ours.generators_loss(batch(), images)
        assert ("same_B" in images) == (share > 0)
        assert terms.keys() == expected.keys()
        for name in ("idt_A", "idt_B"):
            torch.testing.assert_close(terms[name], share * expected[name])


def test_terms_of_a_subclass_are_never_left_out_of_independent_losses() -> None:
    ours = method(detach_cycle=True)
    terms = {name: torch.tensor(float(n)) for n, name in enumerate(("G_A", "G_B", "cycle_A", "keep_A", "tv_A"), 1)}
    assert [loss.item() for loss in ours.independent_losses(terms)] == [15]
    del terms["tv_A"]
    assert [loss.item() for loss in ours.independent_losses(terms)] == [5, 5]


def test_a_perfect_pair_has_no_loss() -> None:
    """Generators that copy, on equal domains, have no cycle and identity loss."""
    ours = method()
    ours.generators["G"] = ours.generators["F"] = nn.Identity()
    terms = ours.generators_loss(batch(), ours.generate(batch()))
    assert {n: terms[n].item() for n in ("cycle_A", "cycle_B", "idt_A", "idt_B")} == dict.fromkeys(
        ("cycle_A", "cycle_B", "idt_A", "idt_B"), 0.0
    )


def test_each_side_gets_gradients_from_its_own_loss_only() -> None:
    ours = method()
    ours.discriminators.requires_grad_(False)
    images = ours.generate(batch())
    terms = ours.generators_loss(batch(), images)
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is None for p in ours.discriminators.parameters())
    assert all(p.grad is not None for p in ours.generators.parameters())
    ours.zero_grad(set_to_none=True)
    ours.discriminators.requires_grad_(True)
    sum(ours.discriminators_loss(batch(), images).values()).backward()  # type: ignore[union-attr]
    assert all(p.grad is None for p in ours.generators.parameters())
    assert all(p.grad is not None for p in ours.discriminators.parameters())


def test_one_pass_for_several_batches_equals_separate_passes() -> None:
    network = ResNetGenerator(width=4, blocks=2).double()
    x, y = batch()["A"], batch()["B"]
    calls: list[int] = []
    network.register_forward_hook(lambda *_: calls.append(1))
    fused = forward_batched(network, x, y)
    assert len(calls) == 1
    torch.testing.assert_close(fused, (network(x), network(y)), rtol=1e-12, atol=1e-12)


def test_batch_norm_and_different_sizes_need_separate_passes() -> None:
    mixing = ResNetGenerator(width=4, blocks=1, norm="batch").double()
    x, y = batch()["A"], batch()["B"]
    result = forward_batched(mixing, x, y)
    torch.testing.assert_close(result, (mixing(x), mixing(y)))
    alone = ResNetGenerator(width=4, blocks=1).double()
    assert [r.shape[-1] for r in forward_batched(alone, x, y[..., :20])] == [32, 20]


def test_history_follows_the_published_rule() -> None:
    history = ImageHistory(5, random.Random(0))
    first = torch.arange(5.0).reshape(5, 1, 1, 1)
    assert torch.equal(history.query(first), first)
    # The rule once more, naively: p for each image; above 1/2 a stored one comes back in exchange.
    stored, rng = first.flatten().tolist(), random.Random(0)
    for value in range(5, 200):
        expected = float(value)
        if rng.uniform(0, 1) > 0.5:
            place = rng.randint(0, 4)
            expected, stored[place] = stored[place], expected
        assert history.query(torch.full((1, 1, 1, 1), float(value))).item() == expected
    assert [i.item() for i in history.images] == stored


def test_history_returns_a_stored_image_half_of_the_time() -> None:
    history = ImageHistory(50, random.Random(3))
    for i in range(50):
        history.query(torch.full((1, 1, 1, 1), float(i)))
    new = sum(history.query(torch.full((1, 1, 1, 1), 50.0 + i)).item() == 50 + i for i in range(4000))
    assert new / 4000 == pytest.approx(0.5, abs=0.03)


def test_history_of_size_0_passes_through_and_stored_images_are_copies() -> None:
    fresh = torch.rand(3, 1, 2, 2)
    assert ImageHistory(0, random.Random(0)).query(fresh) is fresh
    history = ImageHistory(3, random.Random(0))
    history.query(fresh)
    before = [i.clone() for i in history.images]
    fresh.zero_()
    assert all(torch.equal(a, b) for a, b in zip(history.images, before, strict=True))


def test_history_of_b_is_queried_before_that_of_a() -> None:
    ours = method(pool_size=1)
    real = batch(count=1)
    ours.discriminators_loss(real, {"A": real["A"], "B": real["B"]})
    order: list[str] = []
    for domain in ("A", "B"):
        history = ours.histories[domain]
        history.rng = random.Random(0)
        history.query = lambda images, d=domain: order.append(d) or images  # type: ignore[method-assign,func-returns-value]
    ours.discriminators_loss(real, {"A": real["A"], "B": real["B"]})
    assert order == ["B", "A"]


def test_sample_columns_are_input_translation_reconstruction_and_identity() -> None:
    ours = method()
    x = batch()["A"]
    G, F = ours.generators["G"], ours.generators["F"]
    columns = ours.sample_columns(ours.generators, x, "AtoB")
    assert list(columns) == ["input", "translated", "and back", "identity"]
    torch.testing.assert_close(columns["and back"], F(G(x)))
    torch.testing.assert_close(columns["identity"], F(x))


@pytest.mark.parametrize(("detach", "trained"), [(False, {"G", "F"}), (True, {"F"})])
def test_a_detached_cycle_trains_only_the_generator_that_reconstructs(detach: bool, trained: set[str]) -> None:
    gradients = {}
    for each in (False, detach):
        torch.manual_seed(0)
        m, b = method(detach_cycle=each), batch()
        m.generators_loss(b, m.generate(b))["cycle_A"].backward()
        gradients[each] = {name: p.grad for name, p in m.generators.named_parameters() if p.grad is not None}
    assert {name.split(".")[0] for name in gradients[detach]} == trained
    for name, gradient in gradients[detach].items():
        assert name.startswith("G.") or torch.equal(gradient, gradients[False][name])


@pytest.mark.parametrize("detach", [False, True])
def test_parts_side_by_side_give_equal_losses_and_gradients(detach: bool) -> None:
    threads, results = torch.get_num_threads(), []
    try:
        torch.set_num_threads(1)
        for threads_per_part in (0, 1):
            torch.manual_seed(0)
            m, b = method(detach_cycle=detach), batch()
            m.threads_per_part = threads_per_part
            images = m.generate(b)
            for terms in (m.generators_loss(b, images), m.discriminators_loss(b, images)):
                m.parts(*(loss.backward for loss in m.independent_losses(terms)))
            results.append([*terms.values(), *(p.grad for p in m.parameters())])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_independent_losses_share_no_parameters() -> None:
    m, b = method(detach_cycle=True), batch()
    images = m.generate(b)
    for terms in (m.generators_loss(b, images), m.discriminators_loss(b, images)):
        losses = m.independent_losses(terms)
        assert torch.isclose(sum(losses, torch.zeros(())), total(terms))
        touched = []
        for loss in losses:
            grads = torch.autograd.grad(loss, list(m.parameters()), retain_graph=True, allow_unused=True)
            touched.append({i for i, grad in enumerate(grads) if grad is not None})
        networks = m.generators if "cycle_A" in terms else m.discriminators
        own = {id(p) for p in networks.parameters()}
        optimized = {i for i, p in enumerate(m.parameters()) if id(p) in own}
        assert not touched[0] & touched[1] & optimized
