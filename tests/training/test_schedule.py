"""The learning rate at every epoch, and how budgets squeeze the schedule."""

import dataclasses
from itertools import pairwise
from typing import Any

import pytest
import torch

from cyclegan.config.schema import OptimizerConfig, RunConfig
from cyclegan.training.schedule import budget_progress, lr_factor, schedule_epoch, scheduled_factor

PAPER = OptimizerConfig()


def reference_rates(policy: str, epochs: int, config: OptimizerConfig) -> list[float]:
    """The rate in each epoch by torch's own schedulers, stepped at the end of each epoch."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler: torch.optim.lr_scheduler.LRScheduler
    if policy == "linear":
        n, decay = config.epochs, config.epochs_decay
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 1 - max(0, k + 1 - n) / (decay + 1))
    elif policy == "step":
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, config.step_epochs, 0.1)
    else:
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs, 0)
    rates = []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize(("epoch", "factor"), [(1, 1), (100, 1), (101, 100 / 101), (200, 1 / 101)])
def test_linear_decay_at_the_stated_epochs(epoch: int, factor: float) -> None:
    assert lr_factor(epoch, PAPER) == pytest.approx(factor)


def test_the_newer_variant_is_an_epoch_ahead_and_ends_at_zero() -> None:
    newer = dataclasses.replace(PAPER, schedule_steps="epoch_start")
    assert [lr_factor(e, newer) for e in (99, 100, 200)] == pytest.approx([1, 100 / 101, 0])


@pytest.mark.parametrize("policy", ["linear", "step", "cosine"])
def test_rates_of_all_epochs_equal_torchs_schedulers(policy: str) -> None:
    config = dataclasses.replace(PAPER, schedule=policy, epochs=40, epochs_decay=20, step_epochs=7)
    epochs = 60 if policy != "cosine" else 40
    rates = [lr_factor(epoch, config) for epoch in range(1, epochs + 1)]
    assert rates == pytest.approx(reference_rates(policy, epochs, config), abs=1e-9)


def test_the_constant_schedule_stays_at_the_initial_rate() -> None:
    assert lr_factor(200, dataclasses.replace(PAPER, schedule="constant")) == 1


def test_progress_is_the_largest_fraction_of_any_budget() -> None:
    def share(step: int, minutes: float, **run: float) -> float:
        return budget_progress(step, step / 10, minutes, optimizer=PAPER, run=RunConfig(**run))  # type: ignore[arg-type]

    assert share(500, 9) == 0.25
    assert share(500, 9, max_steps=1000) == 0.5
    assert share(500, 9, max_minutes=10) == 0.9
    assert share(500, 9, max_minutes=1e9) == 0.25
    assert share(5000, 0) == 1


def test_the_whole_schedule_is_fitted_into_a_budget() -> None:
    budget = RunConfig(max_steps=100)
    factors = []
    for step in range(100):
        share = budget_progress(step, step / 1000, 0, optimizer=PAPER, run=budget)
        epoch = schedule_epoch(share, step / 1000, optimizer=PAPER, run=budget)
        factors.append(lr_factor(epoch, PAPER))
    assert factors[:50] == [1] * 50
    assert all(a > b for a, b in pairwise(factors[50:]))
    assert factors[-1] < 0.03


def test_without_a_budget_the_rate_changes_between_epochs_only() -> None:
    epochs = [schedule_epoch(0.0, step / 4, optimizer=PAPER, run=RunConfig()) for step in (0, 3, 4, 7, 8)]
    assert epochs == [1, 1, 2, 2, 3]


def test_warmup_and_decay_are_fractions_of_the_run() -> None:
    config = OptimizerConfig(warmup=0.1, decay_from=0.2)

    def factor(progress: float, **settings: Any) -> float:
        optimizer = dataclasses.replace(config, **settings)
        return scheduled_factor(progress, 3.0, optimizer=optimizer, run=RunConfig(max_steps=100))

    at = (0.0, 0.05, 0.1, 0.2, 0.6, 1.0)
    assert [factor(progress) for progress in at] == pytest.approx([0.01, 0.5, 1, 1, 0.5, 0])
    assert [factor(progress, schedule="constant") for progress in at] == pytest.approx([0.01, 0.5, 1, 1, 1, 1])
    assert factor(0.4, warmup=None, decay_from=None) == lr_factor(1 + 0.4 * 200, config)
