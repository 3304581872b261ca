"""Losses of structure: what they ignore, what they punish, and their formulas, written plainly."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from conftest import metrics
from cyclegan import train
from cyclegan.config.schema import Config
from cyclegan.data.get.seasons import draw_scene
from cyclegan.errors import UsageError
from cyclegan.imaging.image import to_tensor
from cyclegan.methods.registry import validate_method
from cyclegan.methods.structure import BINS, FLAT, STRUCTURE, WINDOW
from cyclegan.metrics.content import luminance


def scene(seed: int, season: str) -> Tensor:
    return to_tensor(draw_scene(seed, season, 64))[None].double()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", STRUCTURE)
def test_recoloring_costs_less_than_moving(name: str) -> None:
    """Of a scene: itself is free, its own winter costs less than its shifted winter, and another scene most."""
    loss = STRUCTURE[name]
    summer, winter = scene(3, "summer"), scene(3, "winter").requires_grad_()
    assert loss(summer, summer).item() == pytest.approx(0, abs=1e-5)
    assert loss(summer, summer * 0.6 + 0.2).item() < 0.1
    own, moved = loss(summer, winter), loss(summer, winter.roll(8, -1))
    assert own.item() < 0.95 * moved.item()
    assert 0 < own.item() < 1.5
    (gradient,) = torch.autograd.grad(own, winter)
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    flat = torch.zeros(1, 3, 64, 64, dtype=torch.float64, requires_grad=True)  # no structure at all
    (gradient,) = torch.autograd.grad(loss(summer, flat), flat)
    assert gradient.isfinite().all()


def test_mutual_information_and_self_similarity_ignore_a_negative() -> None:
    summer = scene(1, "summer")
    assert STRUCTURE["mutual_information"](summer, -summer).item() == pytest.approx(0, abs=1e-5)
    assert STRUCTURE["self_similarity"](summer, -summer).item() == pytest.approx(0, abs=1e-9)
    assert STRUCTURE["ssim"](summer, -summer).item() > 1


def test_each_is_its_formula() -> None:
    a, b = torch.rand(2, 1, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    x, y = luminance(a)[0, 0].numpy(), luminance(b)[0, 0].numpy()

    terms = []
    for i in range(16 - WINDOW + 1):
        for j in range(16 - WINDOW + 1):
            p, q = (each[i : i + WINDOW, j : j + WINDOW] for each in (x, y))
            covariance = ((p - p.mean()) * (q - q.mean())).mean()
            terms.append((covariance + FLAT) / math.sqrt((p.var() + FLAT) * (q.var() + FLAT)))
    assert STRUCTURE["ssim"](a, b).item() == pytest.approx(1 - np.mean(terms))

    def bins(values: np.ndarray) -> np.ndarray:
        place = (values.ravel() - values.min()) / np.ptp(values) * (BINS - 1)
        return np.array([[max(0, 1 - abs(each - k)) for k in range(BINS)] for each in place])

    def information(p: np.ndarray) -> float:
        return sum(
            p[i, j] * math.log(p[i, j] / (p[i].sum() * p[:, j].sum()))
            for i in range(BINS)
            for j in range(BINS)
            if p[i, j]
        )

    shared, own = (information(bins(x).T @ bins(other) / 256) for other in (y, x))
    assert STRUCTURE["mutual_information"](a, b).item() == pytest.approx(1 - shared / own, abs=1e-5)

    def similarities(image: np.ndarray) -> np.ndarray:
        bordered = np.pad(image, 1, mode="edge")
        patches = np.array([bordered[i : i + 3, j : j + 3].ravel() for i in range(16) for j in range(16)])
        patches = patches - patches.mean(1, keepdims=True)
        patches = patches / np.sqrt((patches**2).sum(1, keepdims=True) + FLAT)
        table = patches @ patches.T
        return table / np.linalg.norm(table, axis=1, keepdims=True)

    expected = 1 - (similarities(x) * similarities(y)).sum(1).mean()
    assert STRUCTURE["self_similarity"](a, b).item() == pytest.approx(expected)


def test_it_is_a_term_of_the_loss_and_refused_elsewhere(tiny: Callable[..., Config], data: Path) -> None:
    run = train(tiny(structure="ssim", lambda_structure=2.0, max_steps=1, samples=0, measure_every=0))
    assert float(metrics(run)[0]["structure_B"]) > 0
    with pytest.raises(UsageError, match="--structure does not apply to --method cut; use cyclegan or dcl"):
        validate_method(tiny(method="cut", structure="ssim"))
