"""What cannot be ready in time is refused at the door, by the engine's own pace; on a clock that the tests move."""

import asyncio
import random
from collections.abc import Iterator

import numpy as np
import pytest
from batching import MAX_BATCH
from schedules import Request, Stage

from serving.batching.batcher import Batcher
from serving.batching.job import Batch, Job
from serving.batching.job_queue import JobQueue
from serving.batching.pace import Pace
from serving.errors import DeadlinePassed, QueueFull


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(lanes=1, max_queue=1000)
    yield stage
    stage.close()


def compute(stage: Stage, seconds: float) -> None:
    """Let the batch inside take so many seconds."""
    stage.advance(seconds)
    stage.end(stage.engine.inside[0])


def practise(stage: Stage, seconds: float) -> None:
    """Show the batcher enough full batches of so many seconds to know the pace."""
    for _ in range(5):
        stage.ask(MAX_BATCH, seconds=10_000)
        compute(stage, seconds)


def refused(request: Request) -> QueueFull | None:
    error = request.task.exception() if request.task.done() else None
    return error if isinstance(error, QueueFull) else None


def test_one_measurement_refuses_nobody(stage: Stage) -> None:
    stage.ask(1, seconds=1000)
    compute(stage, 100.0)
    stage.ask(1, seconds=10)
    assert not refused(stage.ask(10, seconds=10))


def test_nothing_is_refused_before_anything_is_known(stage: Stage) -> None:
    assert not any(refused(stage.ask(10, seconds=0.001)) for _ in range(20))


def test_what_would_wait_beyond_its_deadline_is_refused_and_told_when_to_come_again(stage: Stage) -> None:
    practise(stage, 4.0)  # one second an image
    assert not refused(stage.ask(MAX_BATCH, seconds=100))
    assert not refused(stage.ask(16, seconds=30))  # 20 seconds, of 30
    late = refused(stage.ask(1, seconds=20))  # 21 seconds, of 20
    assert late is not None
    assert late.headers == {"Retry-After": "5"}  # then 16 seconds are left to do, four fifths of 20
    assert not refused(stage.ask(1, seconds=100))  # there is a queue, but no hurry
    compute(stage, 4.0)
    assert not refused(stage.ask(1, seconds=30))


def test_a_full_queue_says_when_there_will_be_room(stage: Stage) -> None:
    practise(stage, 2.0)
    stage.ask(MAX_BATCH, seconds=10_000)
    stage.ask(990, seconds=10_000)
    full = refused(stage.ask(30, seconds=10_000))
    assert full is not None
    assert full.headers == {"Retry-After": "10"}  # for 20 images, half a second each


def test_an_idle_engine_tries_whatever_was_measured_and_learns(stage: Stage) -> None:
    practise(stage, 1000.0)  # the machine was asleep
    for _ in range(20):
        assert not refused(stage.ask(3 * MAX_BATCH, seconds=10))
        for _ in range(3):
            compute(stage, 0.01)
    stage.ask(1, seconds=10)
    assert not refused(stage.ask(100, seconds=10))


def test_one_slow_batch_among_fast_ones_does_not_close_the_door(stage: Stage) -> None:
    for seconds in [0.1] * 10 + [60.0]:
        stage.ask(MAX_BATCH, seconds=1000)
        compute(stage, seconds)
    stage.ask(MAX_BATCH, seconds=10)
    assert not refused(stage.ask(MAX_BATCH, seconds=10))


def test_batches_that_overlap_count_once() -> None:
    stage = Stage(lanes=2, max_queue=1000)
    for _ in range(5):
        stage.ask(MAX_BATCH, seconds=1000)
        stage.ask(MAX_BATCH, seconds=1000)
        stage.advance(4.0)
        for call in stage.engine.computing:
            stage.end(call)  # eight images in four seconds
    stage.ask(MAX_BATCH, seconds=1000)
    assert not refused(stage.ask(6, seconds=10))  # ten images in five seconds
    assert refused(stage.ask(12, seconds=10))
    stage.close()


def test_batches_that_are_counted_in_another_order_than_they_ended_do_not_turn_time_back() -> None:
    """A lane tells the event loop of its batch before it counts it, and the other one may overtake it meanwhile."""
    loop, now = asyncio.new_event_loop(), 0.0
    queue = JobQueue(max_batch=2, max_queue=100, processors=2, clock=lambda: now)

    def add(images: int, seconds: float) -> None:
        queue.add(Job(np.zeros((images, 32, 32, 3), np.uint8), now, now + seconds, loop.create_future()))

    for _ in range(50):
        add(4, 1000.0)
        for ended in (now + 0.015, now + 0.011):  # four images in fifteen milliseconds
            batch = queue.take()
            assert batch is not None
            batch.started, batch.ended = now, ended
            queue.finish(batch)
        now += 0.015
    add(40, 1000.0)
    with pytest.raises(QueueFull, match=r"take about 0\.1[3-7] s"):
        add(1, 0.1)
    add(1, 0.3)
    loop.close()


def test_full_batches_tell_more_of_the_pace_than_lone_images() -> None:
    pace = Pace()
    for _ in range(10):
        pace.note(1, 1.0)
    pace.note(64, 1.0)
    assert pace.expect(64) < 6


def test_twice_the_load_that_the_engine_bears_is_served_in_time_or_refused_at_once() -> None:
    """An engine of 100 images a second, give or take half, and 200 single images a second that wait for a second."""
    loop, rng, now = asyncio.new_event_loop(), random.Random(0), 0.0
    queue = JobQueue(max_batch=8, max_queue=4096, processors=1, clock=lambda: now)
    jobs: list[Job] = []
    refusals = late = in_time = 0
    free_at, arrival = 0.0, 0.0
    while now < 60:
        now = arrival
        arrival += rng.expovariate(200)
        job = Job(np.zeros((1, 32, 32, 3), np.uint8), now, now + 1.0, loop.create_future())
        try:
            queue.add(job)
            jobs.append(job)
        except QueueFull:
            refusals += 1
        while free_at <= arrival and queue.waiting:
            now = max(now, free_at)
            batch = queue.take()
            assert batch is not None
            batch.started = now
            batch.ended = free_at = now + sum(rng.uniform(0.005, 0.015) for _ in range(batch.images))
            batch.results = [np.zeros((1, 10), np.float32)] * len(batch.slices)
            in_time += sum(part.job.deadline >= batch.ended for part in batch.slices)
            queue.finish(batch)
    late = len(jobs) - in_time - queue.waiting
    loop.close()
    assert in_time > 0.95 * 60 * 100
    assert late < 0.01 * len(jobs)
    assert refusals > 0.4 * (len(jobs) + refusals)


def test_a_deadline_that_has_passed_costs_nothing(stage: Stage) -> None:
    request = stage.ask(1, seconds=0)
    assert isinstance(request.task.exception(), DeadlinePassed)
    assert stage.engine.calls == []


def test_observers_are_told_waits_images_and_seconds_of_every_batch() -> None:
    stage = Stage(lanes=1, max_queue=1000)
    seen: list[Batch] = []
    stage.batcher = Batcher(
        stage.engine, max_batch=MAX_BATCH, max_queue=10, observers=[seen.append], clock=lambda: stage.clock.now
    )
    stage.ask(1, seconds=100)
    stage.ask(6, seconds=100)
    for _ in range(3):
        compute(stage, 2.0)
    assert [batch.images for batch in seen] == [1, 4, 2]
    assert [batch.seconds for batch in seen] == [2.0, 2.0, 2.0]
    assert [batch.waits for batch in seen] == [[0.0], [2.0], []]  # of a job, once
    assert not any(batch.failed for batch in seen)
    stage.close()
