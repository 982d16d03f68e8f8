"""An engine that computes several batches at once: what each of its lanes is given."""

from collections.abc import Iterator

import pytest
from schedules import FEW, Stage


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
@pytest.mark.parametrize(("count", "taken"), [(4, 4), (8, 4), (9, 5), (20, 10)])
def test_the_only_idle_processor_takes_a_few_or_its_share(stage: Stage, count: int, taken: int) -> None:
    stage.ask(1, seconds=100)
    stage.ask(count, seconds=100)
    assert computing(stage) == [[0], list(range(1, 1 + taken))]


@pytest.mark.parametrize(("stage", "busy"), [((2, 2), 1), ((3, 3), 2), ((8, 8), 7)], indirect=["stage"])
def test_the_last_idle_processor_waits_for_a_few_images(stage: Stage, busy: int) -> None:
    begun = [[number] for number in range(busy)]
    for _ in range(busy + FEW - 1):
        stage.ask(1, seconds=100)
    assert computing(stage) == begun
    stage.ask(1, seconds=100)
    assert computing(stage) == [*begun, [busy + number for number in range(FEW)]]


@pytest.mark.parametrize("stage", [(2, 2)], indirect=True)
def test_who_is_done_first_takes_what_the_last_idle_processor_left(stage: Stage) -> None:
    for _ in range(FEW):
        stage.ask(1, seconds=100)
    stage.end(stage.engine.computing[0])
    assert computing(stage) == [[1, 2, 3]]


@pytest.mark.parametrize("stage", [(2, 2)], indirect=True)
def test_the_last_idle_processor_does_not_wait_beside_more_than_one_image(stage: Stage) -> None:
    stage.ask(4, seconds=100)
    stage.end(stage.engine.computing[0])
    stage.ask(1, seconds=100)
    assert computing(stage) == [[2, 3], [4]]


@pytest.mark.parametrize("stage", [(2, 2)], indirect=True)
def test_the_last_idle_processor_does_not_wait_for_a_slow_network(stage: Stage) -> None:
    for _ in range(10):
        stage.ask(1, seconds=100)
        stage.advance(0.01)
        stage.end(stage.engine.computing[0])
    stage.ask(1, seconds=100)
    stage.ask(1, seconds=100)
    assert computing(stage) == [[10], [11]]


@pytest.mark.parametrize("stage", [(2, 2)], indirect=True)
def test_the_last_idle_processor_does_not_wait_for_one_that_hangs(stage: Stage) -> None:
    stage.ask(1, seconds=100)
    stage.advance(0.01)
    stage.ask(1, seconds=100)
    assert computing(stage) == [[0], [1]]


@pytest.mark.parametrize("stage", [(2, 2)], indirect=True)
def test_what_was_left_to_a_processor_that_hangs_is_computed_by_the_idle_one(stage: Stage) -> None:
    stage.ask(1, seconds=100)
    stage.ask(1, seconds=100)
    stage.advance(0.004)
    assert computing(stage) == [[0]]
    stage.advance(0.002)
    assert computing(stage) == [[0], [1]]


@pytest.mark.parametrize("stage", [(2, 2)], indirect=True)
def test_nor_is_it_left_to_the_next_image_of_that_processor_for_long(stage: Stage) -> None:
    stage.ask(1, seconds=100)
    stage.ask(1, seconds=100)
    stage.advance(0.004)
    stage.end(stage.engine.computing[0])
    stage.ask(1, seconds=100)
    stage.advance(0.002)
    assert computing(stage) == [[1]]
    stage.advance(0.006)
    assert computing(stage) == [[1], [2]]


@pytest.mark.parametrize("stage", [(2, 2)], indirect=True)
def test_nor_is_what_another_processor_left_to_it(stage: Stage) -> None:
    stage.ask(1, seconds=100)
    stage.ask(1, seconds=100)
    stage.advance(0.006)
    stage.ask(1, seconds=100)
    stage.end(stage.engine.computing[0])
    assert computing(stage) == [[1]]
    stage.advance(0.006)
    assert computing(stage) == [[1], [2]]


@pytest.mark.parametrize("stage", [(2, 1)], indirect=True)
def test_an_idle_lane_of_one_device_does_not_wait(stage: Stage) -> None:
    stage.ask(1, seconds=100)
    stage.ask(1, seconds=100)
    assert computing(stage) == [[0], [1]]


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
    for count in (*([busy] if stage.engine.processors > 1 else [1] * busy), 3, 3, 3, 3, 3):
        stage.ask(count, seconds=100)
    stage.end(stage.engine.computing[0])
    assert computing(stage)[-1] == list(range(busy, busy + next_batch))
