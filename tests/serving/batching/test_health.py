"""An engine that fails batch after batch is not asked until its golden images come out right again."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest
from batching import settle
from schedules import Clock

from cifar_models.bundle import Probabilities
from serving.batching.health import Health
from serving.batching.job import Batch, Slice

ROWS = np.zeros((1, 10), np.float32)


def a_request() -> SimpleNamespace:
    return SimpleNamespace(blamed=False)


def batch(*results: tuple[SimpleNamespace, Probabilities | Exception]) -> Batch:
    """A slice for each request and what became of it."""
    slices = [Slice(request, 0, None) for request, _ in results]  # type: ignore[arg-type]
    return Batch(slices, results=[result for _, result in results])


def good() -> Batch:
    return batch((a_request(), ROWS))


def bad(*requests: SimpleNamespace) -> Batch:
    """Of these, or of a new one."""
    return batch(*[(request, ValueError()) for request in requests or [a_request()]])


def mixed() -> Batch:
    return batch((a_request(), ValueError()), (a_request(), ROWS))


class SelfTest:
    """Fails as often as it is told to, and then waits to be let through."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.runs = 0
        self.done = asyncio.Event()

    async def __call__(self) -> None:
        self.runs += 1
        if self.runs <= self.failures:
            raise ValueError("wrong")
        await self.done.wait()


def never() -> None:
    raise AssertionError("it is too early to give up")


def test_three_failed_batches_in_a_row_break_an_engine_and_a_passed_self_test_mends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.batching.health._INTERVAL", 0)

    async def main() -> None:
        self_test = SelfTest(failures=4)
        health = Health("a", self_test, never)
        for make in (bad, bad, mixed, bad, bad, good, bad, bad):
            health.note(make())
            assert not health.broken
        health.note(bad())
        assert health.broken
        await settle()
        assert self_test.runs == 5
        health.note(good())  # the end of what was accepted before is no proof
        assert health.broken
        self_test.done.set()
        await settle()
        assert not health.broken
        for _ in range(3):
            health.note(bad())
        assert health.broken  # it can break again
        await settle()
        assert not health.broken

    asyncio.run(main())


def test_one_request_that_many_cores_shared_counts_once() -> None:
    async def main() -> None:
        health = Health("a", SelfTest(failures=0), never)
        poisoned = a_request()
        for request in (poisoned, poisoned, poisoned, a_request(), poisoned):
            health.note(bad(request))
        assert not health.broken
        health.note(good())
        health.note(bad(poisoned))  # which the good one did not make a new one
        for _ in range(2):
            health.note(bad())
            assert not health.broken
        health.note(bad())
        assert health.broken
        health.close()

    asyncio.run(main())


def test_batches_that_share_requests_count_as_long_as_each_has_a_new_one() -> None:
    async def main() -> None:
        health = Health("a", SelfTest(failures=0), never)
        first, second, third = a_request(), a_request(), a_request()
        for requests in ([first], [first, second], [second, third]):
            assert not health.broken
            health.note(bad(*requests))
        assert health.broken
        health.close()

    asyncio.run(main())


def test_closing_ends_the_tests() -> None:
    async def main() -> None:
        health = Health("a", SelfTest(failures=0), never)
        for _ in range(3):
            health.note(bad())
        health.close()
        await settle()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


@pytest.mark.parametrize(("seconds", "times"), [(50, 0), (60, 1), (600, 1)])
def test_an_engine_that_fails_its_tests_for_a_minute_is_given_up_once_and_tested_on(seconds: int, times: int) -> None:
    clock, given_up = Clock(), []
    self_test = SelfTest(failures=1 + seconds // 5)
    health = Health("a", self_test, lambda: given_up.append(clock.now))

    async def fail() -> None:
        for _ in range(3):
            health.note(bad())
        await settle()

    began = clock.now
    clock.run_until_complete(fail())
    for _ in range(seconds // 5):
        clock.now += 5
        clock.run_until_complete(settle())
    assert given_up == [began + 60] * times
    assert self_test.runs == self_test.failures
    self_test.done.set()
    clock.now += 5
    clock.run_until_complete(settle())
    assert not health.broken
    clock.now += 600  # nor later
    clock.run_until_complete(settle())
    assert len(given_up) == times
    clock.close()
