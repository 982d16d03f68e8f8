"""Who is let in: nobody is turned away without a crowd, and in one only who would wait too long."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress

import pytest

from serving.batching.admission import Admission
from serving.errors import QueueFull

CROWD = 40  # images
MAX_WAIT = 1.0  # seconds


class Door:
    """An admission with a clock of its own, and the visits that are under way."""

    def __init__(self) -> None:
        self.now = 0.0
        self.admission = Admission(crowd=CROWD, max_wait=MAX_WAIT, clock=lambda: self.now)
        self.visits: list[AbstractContextManager[Callable[[int], None]]] = []

    def enter(self, images: int = 1) -> None:
        context = self.admission.visit()
        context.__enter__()(images)
        self.visits.append(context)

    def answer(self, count: int, *, seconds: float) -> None:
        """Answer the oldest visits, one every so many seconds."""
        for context in self.visits[:count]:
            self.now += seconds
            context.__exit__(None, None, None)
        del self.visits[:count]


def crowded(rate: float) -> Door:
    """A door with twice the crowd inside, after a time in which so many images a second were answered."""
    door = Door()
    for _ in range(12 * CROWD):
        door.enter()
    door.answer(10 * CROWD, seconds=1 / rate)
    return door


def test_nobody_is_turned_away_while_nothing_is_known() -> None:
    door = Door()
    for _ in range(100 * CROWD):
        door.enter()


def test_nobody_is_turned_away_without_a_crowd_however_slow_it_was() -> None:
    door = crowded(rate=1)
    door.answer(CROWD + 1, seconds=1)
    door.enter()


def test_requests_that_are_still_on_their_way_keep_nobody_out() -> None:
    door = crowded(rate=1)
    door.answer(2 * CROWD, seconds=1)
    with ExitStack() as stack:
        for _ in range(10 * CROWD):
            stack.enter_context(door.admission.visit())
        assert door.admission.visits == 10 * CROWD
        door.enter()


@pytest.mark.parametrize(("rate", "let_in"), [(20, False), (70, False), (90, True), (1000, True)])
def test_in_a_crowd_the_wait_decides(rate: float, let_in: bool) -> None:
    door = crowded(rate)
    assert door.admission.wait == pytest.approx(2 * CROWD / rate, rel=0.1)
    if let_in:
        door.enter()
    else:
        with pytest.raises(QueueFull, match=f"{2 * CROWD} images come first") as refused:
            door.enter()
        assert int(refused.value.headers["Retry-After"]) >= 2 * CROWD / rate - MAX_WAIT


def test_the_images_of_a_request_count_not_the_request() -> None:
    door = crowded(rate=90)
    door.enter(images=CROWD)
    with pytest.raises(QueueFull):
        door.enter()


def test_a_few_requests_are_no_crowd_however_large_they_are() -> None:
    door = crowded(rate=90)
    door.answer(2 * CROWD, seconds=1 / 90)
    for _ in range(8):
        door.enter(images=10 * CROWD)
    with pytest.raises(QueueFull):
        door.enter()


def test_who_failed_is_outside_again() -> None:
    door = Door()
    for _ in range(10 * CROWD):
        with suppress(ZeroDivisionError), door.admission.visit() as arrived:
            arrived(100)
            raise ZeroDivisionError
    assert door.admission.wait == 0


def test_a_rate_of_a_crowd_is_forgotten_by_and_by() -> None:
    door = crowded(rate=20)
    door.answer(CROWD + 1, seconds=1 / 400)
    for _ in range(1000):  # the machine is itself again
        door.enter()
        door.answer(1, seconds=1 / 400)
    assert door.admission.wait == pytest.approx(CROWD / 400, rel=0.1)
    for _ in range(2 * CROWD):
        door.enter()
