"""How `python -m bench.tune` finds the highest rate that a server bears."""

from collections.abc import Iterator

import pytest

from bench.tune import climb


@pytest.mark.parametrize(("capacity", "found"), [(10, None), (20, 20), (100, 100), (1000, 1000)])
def test_it_finds_the_capacity_to_within_a_step(capacity: float, found: float | None) -> None:
    rate = climb(lambda rate: rate <= capacity, 20)
    assert rate == found if found is None else rate is not None and found / 1.06 < rate <= found


def test_a_first_rate_that_held_by_luck_alone_is_none() -> None:
    answers = iter([True])
    assert climb(lambda rate: next(answers, False), 20) is None


def test_a_rate_that_held_by_luck_is_not_the_result() -> None:
    answers: Iterator[bool] = iter([True, True, False, False, False])  # 20, 40; 80, 50 and 42 are too much
    rates: list[float] = []

    def holds(rate: float) -> bool:
        rates.append(rate)
        return next(answers, rate <= 30)

    rate = climb(holds, 20)
    assert rates[:5] == [20, 40, 80, 50, 42]
    assert rate is not None
    assert 30 / 1.06 < rate <= 30
