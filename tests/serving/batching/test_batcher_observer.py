"""What the batcher tells of a request and of its batches."""

import asyncio
import time
from dataclasses import dataclass

import pytest
from batching import MAX_BATCH, PATIENCE, Engine, numbered

from serving.batching.batcher import Batcher
from serving.batching.job import Batch


@dataclass
class Times:
    """One request's."""

    queue: float | None = None
    inference: float | None = None
    batch: int | None = None


def test_batches_and_waits_are_told_as_they_happen() -> None:
    async def main() -> None:
        engine, batches = Engine(held=True), list[Batch]()
        held = 0.0  # seconds by which the clock is ahead
        batcher = Batcher(
            engine,
            max_batch=MAX_BATCH,
            max_queue=100,
            observers=[batches.append],
            clock=lambda: time.monotonic() + held,
        )
        times = [Times() for _ in range(3)]
        deadline = asyncio.get_running_loop().time() + PATIENCE
        tasks = []
        for count, each in zip((1, 6, 1), times, strict=True):
            tasks.append(asyncio.ensure_future(batcher.classify(numbered(0, count), deadline=deadline, timings=each)))
            await asyncio.to_thread(engine.started.wait, PATIENCE)  # the first has gone to the engine
        assert batches == []
        held = PATIENCE / 2
        engine.released.set()
        await asyncio.gather(*tasks)
        await batcher.close()
        assert [batch.images for batch in batches] == [1, MAX_BATCH, 3]
        assert [wait for batch in batches for wait in batch.waits] == [each.queue for each in times]
        first, second, third = batches
        spans = [first.seconds, third.ended - second.started, third.seconds]
        assert [each.inference for each in times] == pytest.approx(spans)
        assert [each.batch for each in times] == [1, MAX_BATCH, 3]
        assert [(each.queue or 0) > PATIENCE / 2 for each in times] == [False, True, True]

    asyncio.run(main())
