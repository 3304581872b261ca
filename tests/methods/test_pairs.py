"""Mixed training: a few pairs in addition to unpaired images."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from conftest import metrics, tensors
from cyclegan import resume, train, write_report
from cyclegan.config.schema import Config, DataConfig, LossConfig, NetworkConfig
from cyclegan.data.datasets import MixedImages, UnpairedImages, collate
from cyclegan.data.layouts import find_domains, find_pairs
from cyclegan.errors import UsageError
from cyclegan.methods.cyclegan import CycleGAN
from cyclegan.methods.registry import validate_method


@pytest.fixture
def pairs(data: Path, tmp_path: Path) -> Path:
    """The first three training images of each domain, whose names and noise are equal, so they are pairs."""
    for domain in "AB":
        (tmp_path / "pairs" / domain).mkdir(parents=True)
        for number in range(3):
            shutil.copy(data / f"train{domain}" / f"{number:02d}.png", tmp_path / "pairs" / domain)
    return tmp_path / "pairs"


def test_every_item_has_a_pair_and_images_stay_those_of_a_run_without_pairs(data: Path, pairs: Path) -> None:
    config = DataConfig(load_size=36, crop_size=32)
    files, found = find_domains(data).train, find_pairs(pairs).train
    alone, mixed = UnpairedImages(files, config, 5), MixedImages(files, found, config, 5)
    seen = []
    for number in range(9):
        key = divmod(number, len(alone))
        item = mixed[key].images
        assert {name: item[name].sum() for name in "AB"} == {n: v.sum() for n, v in alone[key].images.items()}
        a, b = item["pairs_A"], item["pairs_B"]  # red and blue tints of one noise, cropped and flipped alike
        torch.testing.assert_close(a[1], b[1])
        seen.append(float(a[1].mean().round(decimals=2)))
    batch = collate([mixed[0, 0], mixed[0, 1]]).images
    assert batch["pairs_B"].shape == (2, 3, 32, 32)
    numbers = [mixed.pairs.item_index(*divmod(number, 3)).a for number in range(9)]
    assert [sorted(numbers[start : start + 3]) for start in (0, 3, 6)] == [[0, 1, 2]] * 3


def test_the_loss_of_pairs_is_their_weighted_l1() -> None:
    torch.manual_seed(0)
    networks = NetworkConfig(generator="resnet", generator_width=4, blocks=1, discriminator_width=4)
    ours = CycleGAN(networks, LossConfig(lambda_pairs=7.0), (3, 3)).double()
    a, b, x, y = torch.rand(4, 1, 3, 16, 24, dtype=torch.float64)
    a, b = (each.repeat(1, 1, 2, 2) for each in (a, b))
    batch = {"A": a, "B": b}
    without = ours.generators_loss(batch, ours.generate(batch))
    batch |= {"pairs_A": x, "pairs_B": y}
    terms = ours.generators_loss(batch, ours.generate(batch))
    G, F = ours.generators["G"], ours.generators["F"]
    torch.testing.assert_close(terms.pop("pairs_A"), 7 * (G(x) - y).abs().mean())
    torch.testing.assert_close(terms.pop("pairs_B"), 7 * (F(y) - x).abs().mean())
    torch.testing.assert_close(terms, without)
    assert "P" not in ours.discriminators


@pytest.mark.parametrize("objective", ["lsgan", "vanilla"])
def test_the_adversarial_loss_of_pairs_is_that_of_a_conditional_gan_both_ways(objective: Any) -> None:
    torch.manual_seed(0)
    networks = NetworkConfig(generator="resnet", generator_width=4, blocks=1, discriminator_width=4)
    loss = LossConfig(lambda_pairs_gan=0.3, objective=objective, augment="ada", detach_cycle=True, lambda_identity=0.0)
    ours = CycleGAN(networks, loss, (3, 1)).double()
    batch = {
        name: torch.rand(1, 3 - 2 * name.endswith("B"), 32, 32).double() for name in ("A", "B", "pairs_A", "pairs_B")
    }
    x, y = batch["pairs_A"], batch["pairs_B"]
    (G, F), P = ours.generators.values(), ours.discriminators["P"]
    real, fakes = P(torch.cat([x, y], 1)), [P(torch.cat(pair, 1)) for pair in ((x, G(x)), (F(y), y))]

    def plain(logits: torch.Tensor, target: int) -> torch.Tensor:
        if objective == "lsgan":
            return ((logits - target) ** 2).mean()
        return -torch.log(torch.sigmoid(logits) if target else 1 - torch.sigmoid(logits)).mean()

    images = ours.generate(batch)
    terms = ours.generators_loss(batch, images)
    for name, fake in zip(("pairs_GAN_A", "pairs_GAN_B"), fakes, strict=True):
        torch.testing.assert_close(terms[name], 0.3 * plain(fake, 1))
    losses = ours.discriminators_loss(batch, images)
    wanted = plain(real, 1) / 2 + sum(plain(fake, 0) for fake in fakes) / 4
    torch.testing.assert_close(losses["D_pairs"], wanted)
    assert "p_P" in ours.extra_metrics()
    unused = torch.autograd.grad(losses["D_pairs"], [*ours.generator_parameters()], allow_unused=True)
    assert all(gradient is None for gradient in unused)
    for each in (terms, losses):  # the parts of a step that run side by side are complete, and share no parameters
        parts = ours.independent_losses(each)
        torch.testing.assert_close(sum(parts), sum(each.values()))
        assert len(parts) == len({"G", "F"}) + (each is losses)


def test_a_mixed_run_resumes_bit_for_bit(tiny: Callable[..., Config], pairs: Path) -> None:
    settings: dict[str, Any] = {"pairs": pairs, "schedule": "constant", "samples": 0, "measure_every": 0}
    settings["lambda_pairs_gan"] = 0.5
    straight = train(tiny(**settings, max_steps=4, name="straight"))
    parts = train(tiny(**settings, max_steps=2, name="parts"))
    moved = pairs.rename(pairs.with_name("moved"))
    with pytest.raises(UsageError, match="pairs, which does not exist"):
        resume(parts, max_steps=4)
    resume(parts, max_steps=4, pairs=moved)
    a, b = tensors(straight), tensors(parts)
    assert [key for key in a if not torch.equal(a[key], b[key])] == []
    assert {"pairs_A", "pairs_B", "pairs_GAN_A", "D_pairs"} <= metrics(straight)[0].keys()
    assert any(name.startswith("weights.discriminators.P.") for name in a)
    train(
        tiny(init_from=straight, max_steps=1, measure_every=0, name="without")
    )  # the discriminator of pairs is left out
    page = write_report(straight).path.read_text()
    assert "L1 × 10 on pairs, adversarial × 0.5 on pairs" in page
    assert "Pairs" in page


def test_pairs_are_refused_where_they_do_not_apply(tiny: Callable[..., Config], data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not apply to --method cut; use cyclegan or dcl"):
        validate_method(tiny(method="cut", pairs=data))
    with pytest.raises(UsageError, match="learns from pairs alone"):
        validate_method(tiny(method="pix2pix", pairs=data))
    for method, words in (("cyclegan", "add --pairs FOLDER"), ("cut", "lambda-pairs-gan does not apply")):
        with pytest.raises(UsageError, match=words):
            validate_method(tiny(method=method, lambda_pairs_gan=1.0))
    with pytest.raises(UsageError, match="none does not exist"):
        train(tiny(pairs=tmp_path / "none"))
