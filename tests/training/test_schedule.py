"""The learning rate follows torch's own schedulers, and a run stops after exactly as many epochs as the recipe says."""

from math import log10
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from training.recipe import Recipe
from training.schedule import count_plateaus, lr_factor, should_stop

SEEDS = range(100)


@pytest.mark.parametrize("patience", [0, 1, 2, 4, 7])
def test_plateaus_are_counted_as_torch_counts_them(patience: int) -> None:
    counted = set()
    for seed in SEEDS:
        losses = random_losses(seed)
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        scheduler = ReduceLROnPlateau(optimizer, factor=0.1, patience=patience, eps=0)
        for epoch, loss in enumerate(losses, 1):
            scheduler.step(loss)
            expected = round(-log10(optimizer.param_groups[0]["lr"]))
            assert count_plateaus(losses[:epoch], patience) == expected, (seed, epoch)
        counted.add(expected)
    assert len(counted) > 2  # the sequences do differ


@pytest.mark.parametrize("patience", [1, 4, 7])
def test_a_run_stops_exactly_when_the_lowest_loss_is_so_many_epochs_old(patience: int) -> None:
    for seed in SEEDS:
        losses = random_losses(seed)
        for epoch in range(1, len(losses) + 1):
            age = epoch - 1 - int(np.argmin(losses[:epoch]))  # the first of equals: a loss as low is no lower
            assert should_stop(losses[:epoch], patience) == (age >= patience), (seed, epoch)


def test_a_run_of_seven_stalled_epochs_stops_and_one_of_six_does_not() -> None:
    falling = [2.0, 1.5, 1.0]
    assert not should_stop(falling + [1.0] * 6, 7)
    assert should_stop(falling + [1.0] * 7, 7)
    assert not should_stop([*falling, *[1.0] * 6, 0.999], 7)


@pytest.mark.parametrize("losses", [[], [1.0], [1.0] * 100])
def test_a_recipe_without_early_stop_never_stops(losses: list[float]) -> None:
    assert not should_stop(losses, 0)


def test_nothing_stops_or_slows_before_the_first_epoch() -> None:
    assert not should_stop([], 1)
    assert count_plateaus([], 0) == 0


def test_a_plateau_takes_a_tenth_of_the_rate_each_time_patience_ends() -> None:
    plateau = recipe(schedule="plateau", plateau_patience=4)
    factors = [factor(plateau, validation_losses=[1.0] * epochs) for epochs in range(12)]
    assert factors == pytest.approx([1.0] * 6 + [0.1] * 5 + [0.01])


def test_a_constant_rate_is_constant() -> None:
    constant = recipe(schedule="constant")
    assert {factor(constant, epoch=epoch, step=step) for epoch in range(10) for step in range(5)} == {1.0}


def test_a_step_takes_a_tenth_after_its_epoch() -> None:
    stepped = recipe(schedule="step", step_epoch=3)
    assert [factor(stepped, epoch=epoch, step=4) for epoch in range(5)] == [1.0, 1.0, 1.0, 0.1, 0.1]


def test_a_linear_rate_counts_the_steps_of_all_epochs() -> None:
    linear = recipe(schedule="linear", warmup=0.2)  # 50 steps in all, 10 of them rise
    factors = [factor(linear, epoch=epoch, step=step) for epoch in range(10) for step in range(5)]
    rise, fall = [step / 11 for step in range(1, 11)], [(50 - step) / 40 for step in range(10, 50)]
    assert factors == pytest.approx(rise + fall)


def random_losses(seed: int) -> list[float]:
    """A walk down with steps back, ties, and steps too small to count."""
    generator = np.random.default_rng(seed)
    factors = generator.choice([0.7, 0.99, 1 - 1e-4, 1 - 5e-5, 1.0, 1.0, 1.01, 1.3], size=40)
    return [float(loss) for loss in np.cumprod(factors)]


def recipe(**settings: Any) -> Recipe:
    return Recipe(model="lenet", epochs=10, **settings)


def factor(recipe: Recipe, *, epoch: int = 0, step: int = 0, validation_losses: list[float] | None = None) -> float:
    return lr_factor(recipe, epoch=epoch, step=step, steps_per_epoch=5, validation_losses=validation_losses or [])
