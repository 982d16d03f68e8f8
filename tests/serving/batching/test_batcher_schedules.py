"""The batcher's promises under arrivals, ends, failures, deadlines and callers who go, in any order that is drawn."""

import asyncio
from collections import Counter
from itertools import pairwise

from batching import MAX_BATCH
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from schedules import Call, Request, Stage

from serving.errors import DeadlinePassed, EngineFailed, QueueFull

COUNTS = st.integers(1, 3 * MAX_BATCH)
SECONDS = st.sampled_from([0.0, 1.0, 2.0, 5.0, 1000.0])


class Schedule(RuleBasedStateMachine):
    """Each rule is one event; the promises are checked after each, and all of them at the end."""

    @initialize(
        engine=st.sampled_from([(1, 1), (2, 1), (2, 2), (3, 3)]),
        max_queue=st.sampled_from([3 * MAX_BATCH, 30, 1000]),
        max_batch=st.sampled_from([MAX_BATCH, 3 * MAX_BATCH]),
    )
    def open(self, engine: tuple[int, int], max_queue: int, max_batch: int) -> None:
        lanes, processors = engine
        self.stage = Stage(lanes=lanes, processors=processors, max_queue=max_queue, max_batch=max_batch)

    @rule(count=COUNTS, seconds=SECONDS, poisoned=st.sampled_from([False] * 5 + [True]))
    def ask(self, count: int, seconds: float, poisoned: bool) -> None:
        batcher = self.stage.batcher
        idle = not batcher._queue._in_flight and not batcher.waiting
        room = batcher.waiting + count <= self.stage.max_queue
        request = self.stage.ask(count, seconds, poisoned=poisoned)
        refused = request.task.done() and request.outcome() is QueueFull
        assert refused or room or not seconds
        assert not (refused and idle)

    @rule(count=st.integers(5, 20))
    def ask_together(self, count: int) -> None:
        for _ in range(count):
            self.stage.ask(1, 5.0)

    @precondition(lambda self: self.stage.engine.computing)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self.stage.end(data.draw(st.sampled_from(self.stage.engine.computing)))

    @precondition(lambda self: self.stage.engine.computing)
    @rule(data=st.data())
    def break_down(self, data: st.DataObject) -> None:
        self.stage.end(data.draw(st.sampled_from(self.stage.engine.computing)), broken=True)

    @precondition(lambda self: self.stage.engine.computing)
    @rule(data=st.data(), seconds=st.sampled_from([0.5, 2.0]))
    def lag(self, data: st.DataObject, seconds: float) -> None:
        self.stage.lag(data.draw(st.sampled_from(self.stage.engine.computing)), seconds)

    @precondition(lambda self: self.stage.pending)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.stage.leave(data.draw(st.sampled_from(self.stage.pending)))

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0]))
    def advance(self, seconds: float) -> None:
        self.stage.advance(seconds)

    @invariant()
    def the_bound_is_kept(self) -> None:
        assert 0 <= self.stage.batcher.waiting <= self.stage.max_queue

    @invariant()
    def nobody_waits_beyond_the_deadline(self) -> None:
        assert all(request.deadline > self.stage.clock.now for request in self.stage.pending)

    @invariant()
    def an_engine_that_could_compute_does(self) -> None:
        assert self.stage.engine_does_what_it_could()

    def teardown(self) -> None:
        if hasattr(self, "stage"):
            self.stage.close()
            check_batches(self.stage)
            for request in self.stage.requests:
                check_request(request, self.stage)


def check_batches(stage: Stage) -> None:
    calls = stage.engine.calls
    assert all(0 < len(call.numbers) <= stage.max_batch for call in calls)
    assert all(before < after for call in calls for before, after in pairwise(call.numbers))  # first come, first served
    succeeded = Counter(number for call in calls if call.succeeded for number in call.numbers)
    assert all(times == 1 for times in succeeded.values())
    if stage.engine.lanes == 1:
        firsts = list(dict.fromkeys(number for call in calls for number in call.numbers))
        assert firsts == sorted(firsts)


def check_request(request: Request, stage: Stage) -> None:
    calls = [call for call in stage.engine.calls if set(call.numbers) & set(request.numbers)]
    assert all(call.at < request.deadline for call in calls)
    assert request.answered_at is not None
    if request.calls_when_gone is not None:
        assert request.outcome() is asyncio.CancelledError
        assert not [call for call in stage.engine.calls[request.calls_when_gone :] if call in calls]
    elif request.outcome() == request.numbers:
        assert request.answered_at <= request.deadline or request.answered_at in stage.lags
    else:
        assert request.outcome() in allowed_refusals(request, calls, stage)


def allowed_refusals(request: Request, calls: list[Call], stage: Stage) -> list[object]:
    """Nothing that happened to a neighbour is a reason."""
    alone = [call for call in calls if set(call.numbers) <= set(request.numbers)]
    allowed: list[object] = []
    if any(call.broken for call in alone) or (alone and stage.engine.poison & set(request.numbers)):
        allowed.append(EngineFailed)
    assert request.answered_at is not None
    if request.answered_at >= request.deadline:
        allowed.append(DeadlinePassed)
    if not calls:
        allowed.append(QueueFull)
    return allowed


TestSchedule = Schedule.TestCase
TestSchedule.settings = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=100,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow],
)
