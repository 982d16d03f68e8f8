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
    ("stage", "shares"),
    [
        ((1, 1), [[0, 1, 2, 3]]),
        ((2, 1), [[0, 1, 2, 3]]),  # two lanes of one device: half batches would take as long
        ((2, 2), [[0, 1], [2, 3]]),
        ((3, 3), [[0, 1], [2], [3]]),
        ((8, 8), [[0], [1], [2], [3]]),
    ],
    indirect=["stage"],
)
def test_idle_processors_share_a_request_alike(stage: Stage, shares: list[list[int]]) -> None:
    request = stage.ask(4, seconds=100)
    assert computing(stage) == shares
    stage.engine.end_all()
    stage.settle()
    assert request.outcome() == [0, 1, 2, 3]


@pytest.mark.parametrize("stage", [(2, 2)], indirect=True)
def test_the_only_idle_processor_takes_all(stage: Stage) -> None:
    stage.ask(1, seconds=100)
    stage.ask(3, seconds=100)
    assert computing(stage) == [[0], [1, 2, 3]]


@pytest.mark.parametrize(
    ("stage", "next_batch"),
    [
        ((1, 1), 12),
        ((2, 1), 12),
        ((2, 2), 6),
        ((3, 3), 4),
        ((8, 8), 4),  # two would cost nearly as much of the work around them
    ],
    indirect=["stage"],
)
def test_a_processor_that_was_busy_leaves_the_others_theirs_but_takes_a_few(stage: Stage, next_batch: int) -> None:
    busy = stage.engine.lanes
    for count in (*[1] * busy, 3, 3, 3, 3):
        stage.ask(count, seconds=100)
    stage.end(stage.engine.computing[0])
    assert computing(stage)[-1] == list(range(busy, busy + next_batch))
