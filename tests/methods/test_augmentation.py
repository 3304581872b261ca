"""Augmentation of what discriminators see: closed forms, gradients, ADA's control, and training with it."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cyclegan import UsageError, train
from cyclegan.config.schema import Config
from cyclegan.methods import augmentation as aug
from cyclegan.methods.method import build_method

METHODS = ("cyclegan", "pix2pix", "colorization", "cut")


def images(channels: int = 3, count: int = 2, side: int = 16) -> Tensor:
    torch.manual_seed(3)
    return torch.rand(count, channels, side, side, dtype=torch.float64) * 2 - 1


def test_color_changes_match_their_formulas() -> None:
    x, draw = images(), torch.tensor([0.1, 0.8], dtype=torch.float64)
    plain = x.numpy()
    for n, u in enumerate(draw.tolist()):
        np.testing.assert_allclose(aug.brightness(x, draw)[n].numpy(), plain[n] + u - 0.5)
        gray = plain[n].mean(0, keepdims=True)
        np.testing.assert_allclose(aug.saturation(x, draw)[n].numpy(), gray + (plain[n] - gray) * 2 * u, atol=1e-12)
        mean = plain[n].mean()
        np.testing.assert_allclose(aug.contrast(x, draw)[n].numpy(), mean + (plain[n] - mean) * (u + 0.5), atol=1e-12)


def test_gray_images_are_unchanged_by_saturation() -> None:
    x = images(channels=1)
    torch.testing.assert_close(aug.saturation(x, torch.tensor([0.0, 0.9], dtype=torch.float64)), x)


def test_shifted_pixels_leave_zeros() -> None:
    x = images()
    moved = aug.shifted(x, 3, -2)
    assert torch.equal(moved[..., 3:, :-2], x[..., :-3, 2:])
    assert not moved[..., :3, :].any() and not moved[..., :, -2:].any()


def test_translation_stays_within_an_eighth() -> None:
    x = torch.zeros(200, 1, 32, 24)
    x[..., 16, 12] = 1
    places = aug.translation(x).nonzero()
    assert len(places) == 200
    assert (places[:, 2] - 16).abs().max() == 4 and (places[:, 3] - 12).abs().max() == 3


def test_holes_have_half_the_sides() -> None:
    holes = (aug.cutout(torch.ones(300, 2, 16, 20)) == 0).float()
    assert torch.equal(holes[:, 0], holes[:, 1])
    area = holes[:, 0].sum((1, 2))
    assert area.max() == 8 * 10  # whole ones, where they are not cut by a border
    assert area.min() < 8 * 10
    assert (holes.amax((1, 3)).sum(1) <= 8).all() and (holes.amax((1, 2)).sum(1) <= 10).all()


def test_gradients_pass_through_to_the_fakes() -> None:
    augmentation = aug.Augmentation(("color", "translation", "cutout"))

    def fixed(x: Tensor) -> Tensor:
        torch.manual_seed(5)
        return augmentation(x)

    assert torch.autograd.gradcheck(fixed, images(side=6).requires_grad_())


def test_probability_controls_how_many_images_change() -> None:
    x = images()
    assert torch.equal(aug.Augmentation(("color", "cutout"), p=0.0)(x), x)
    half = aug.Augmentation(("color",), p=0.5)(torch.ones(400, 1, 1, 1))
    assert 120 < (half != 1).sum() < 280


def test_stacked_images_are_shifted_alike() -> None:
    x = images()
    both = aug.Augmentation(("color", "translation", "cutout"), (3, 3))(torch.cat([x, x], 1))
    assert not torch.equal(both[:, :3], both[:, 3:])  # colors of each by itself
    apart = aug.Augmentation(("translation", "cutout"), (3, 3))(torch.cat([x, x], 1))
    assert torch.equal(apart[:, :3], apart[:, 3:])


def test_ada_follows_the_confidence_of_the_discriminator() -> None:
    augmentation = aug.Augmentation(("color",), p=0.0)
    sure, unsure = torch.full((4, 1, 2, 2), 0.9), torch.full((4, 1, 2, 2), 0.1)
    for _ in range(5):
        augmentation.adapt(sure, middle=0.5, target=0.6, images=100)
    assert float(augmentation.p) == pytest.approx(5 * 4 / 100)
    for _ in range(2):
        augmentation.adapt(unsure, middle=0.5, target=0.6, images=100)
    assert float(augmentation.p) == pytest.approx(3 * 4 / 100)
    for _ in range(50):
        augmentation.adapt(unsure, middle=0.5, target=0.6, images=100)
    assert float(augmentation.p) == 0


def model_settings(method: str) -> dict[str, Any]:
    return {"method": method} | ({"nce_layers": (0, 2)} if method == "cut" else {})


@pytest.mark.parametrize("method", METHODS)
def test_discriminators_see_augmented_images_in_training_only(method: str, tiny: Callable[..., Config]) -> None:
    model = build_method(tiny(**model_settings(method), augment="diffaugment", augment_policy=("cutout",)), 0)
    inputs: list[Tensor] = []
    for D in model.discriminators.values():
        D.register_forward_pre_hook(lambda D, args: inputs.append(args[0]))
    batch = {"A": torch.full((1, 3, 32, 32), 0.5), "B": torch.full((1, 3, 32, 32), 0.5)}
    made = model.generate(batch)
    model.generators_loss(batch, made)
    model.discriminators_loss(batch, made)
    holes = [(each == 0).all(1).flatten(1).any(1) for each in inputs]
    assert len(holes) >= 2 and all(each.all() for each in holes)
    inputs.clear()
    model.eval()
    model.discriminators_loss(batch, made)
    assert inputs and not any((each == 0).all(1).any() for each in inputs)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_with_ada_and_logs_its_probability(
    method: str, tiny: Callable[..., Config], data: Path
) -> None:
    pairs = {"data": None, "a": data / "testA", "b": data / "testB"}
    place = {"data": data / "trainA"} if method == "colorization" else pairs
    settings = model_settings(method) | place | {"augment": "ada", "ada_images": 10, "ada_target": -0.99}
    run = train(tiny(**settings, objective="vanilla", max_steps=3))
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = [name for name in rows[0] if name.startswith("p_D")]
    assert len(columns) == (2 if method == "cyclegan" else 1)
    assert any(float(rows[-1][name]) > 0 for name in columns)


def test_errors_name_the_setting(tiny: Callable[..., Config]) -> None:
    for settings, message in (
        ({"augment_policy": ("hue",)}, "--augment-policy is ..hue.,.; it must be 'color', 'translation' or 'cutout'"),
        ({"augment_policy": ("color", "color")}, "--augment-policy needs one or more different changes"),
        ({"ada_target": 1.0}, "--ada-target is 1.0"),
        ({"augment": "ada", "objective": "wgangp"}, "--augment ada needs a discriminator"),
    ):
        with pytest.raises(UsageError, match=message):
            tiny(**settings)
