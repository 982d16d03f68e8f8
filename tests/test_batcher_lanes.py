"""An engine that computes several batches at once: what each of its lanes is given."""

from collections.abc import Iterator

import pytest
from schedules import Stage


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    stage = Stage(lanes=request.param[0], processors=request.param[1], max_queue=1000, max_batch=12)
    yield stage
    stage.close()


def computing(stage: Stage) -> list[list[int]]:
    return [call.numbers for call in stage.engine.computing]


@pytest.mark.parametrize(
    ("stage", "count", "shares"),
    [
        ((1, 1), 4, [4]),
        ((2, 1), 4, [4]),  # two lanes of one device: half batches would take as long
        ((2, 2), 4, [2, 2]),
        ((3, 3), 4, [2, 1, 1]),
        ((8, 8), 4, [1, 1, 1, 1]),
        ((2, 2), 20, [10, 10]),
        ((3, 3), 20, [7, 7, 6]),
        ((2, 2), 40, [12, 12]),  # full batches
    ],
    indirect=["stage"],
)
def test_idle_processors_share_a_request_alike(stage: Stage, count: int, shares: list[int]) -> None:
    request = stage.ask(count, seconds=100)
    assert [len(numbers) for numbers in computing(stage)] == shares
    stage.engine.end_all()
    stage.settle()
    assert request.outcome() == list(range(count))


@pytest.mark.parametrize("stage", [(2, 2)], indirect=True)
@pytest.mark.parametrize(("count", "taken"), [(3, 3), (4, 4), (8, 4), (9, 5), (20, 10)])
def test_the_only_idle_processor_takes_a_few_or_its_share(stage: Stage, count: int, taken: int) -> None:
    stage.ask(1, seconds=100)
    stage.ask(count, seconds=100)
    assert computing(stage) == [[0], list(range(1, 1 + taken))]


@pytest.mark.parametrize(
    ("stage", "next_batch"),
    [
        ((1, 1), 12),
        ((2, 1), 12),
        ((2, 2), 8),
        ((3, 3), 5),
        ((8, 8), 4),  # two would cost nearly as much of the work around them
    ],
    indirect=["stage"],
)
def test_a_processor_that_was_busy_leaves_the_others_theirs_but_takes_a_few(stage: Stage, next_batch: int) -> None:
    busy = stage.engine.lanes
    for count in (*[1] * busy, 3, 3, 3, 3, 3):
        stage.ask(count, seconds=100)
    stage.end(stage.engine.computing[0])
    assert computing(stage)[-1] == list(range(busy, busy + next_batch))
