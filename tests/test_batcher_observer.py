"""What the batcher tells of a request and of its batches."""

import asyncio
from dataclasses import dataclass, field

import pytest
from batching import MAX_BATCH, PATIENCE, Engine, numbered, refusal, settle

from cifar_models.bundle import Probabilities
from serving.batcher import Batcher
from serving.errors import DeadlinePassed, QueueFull


@dataclass
class Notes:
    """Writes down what it is told."""

    queues: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    batches: list[tuple[int, float]] = field(default_factory=list)

    def queue(self, images: int, /) -> None:
        self.queues.append(images)

    def waited(self, seconds: float, /) -> None:
        self.waits.append(seconds)

    def batch(self, images: int, seconds: float, /) -> None:
        self.batches.append((images, seconds))


@dataclass
class Times:
    """One request's."""

    queue: float | None = None
    inference: float | None = None


class Observed:
    """An observed batcher in front of an engine that is held, and requests to it."""

    def __init__(self, max_queue: int = 100) -> None:
        self.engine = Engine(held=True)
        self.notes = Notes()
        self.batcher = Batcher(self.engine, max_batch=MAX_BATCH, max_queue=max_queue, observer=self.notes)

    def ask(self, count: int, times: Times, seconds: float = PATIENCE) -> "asyncio.Task[Probabilities]":
        deadline = asyncio.get_running_loop().time() + seconds
        return asyncio.ensure_future(self.batcher.classify(numbered(0, count), deadline=deadline, timings=times))

    async def close(self) -> None:
        self.engine.released.set()
        await self.batcher.close()


def test_batches_waits_and_the_queue_are_told_as_they_happen() -> None:
    async def main() -> None:
        observed, times = Observed(), [Times() for _ in range(3)]
        tasks = [observed.ask(count, each) for count, each in zip((1, 6, 1), times, strict=True)]
        await settle()
        assert observed.notes.queues == [0, 6, 7]  # the first went to the engine at once
        assert len(observed.notes.waits) == 1
        observed.engine.released.set()
        await asyncio.gather(*tasks)
        await observed.close()
        assert [images for images, _ in observed.notes.batches] == [1, MAX_BATCH, 3]
        assert observed.notes.queues == [0, 6, 7, 3, 0, 0]
        assert observed.notes.waits == [each.queue for each in times]
        first, second, third = (seconds for _, seconds in observed.notes.batches)
        assert [each.inference for each in times] == pytest.approx([first, second + third, third])
        assert (times[1].queue or 0) > (times[0].queue or 0)

    asyncio.run(main())


def test_what_is_given_up_in_the_queue_has_waited_once_and_what_is_refused_has_not() -> None:
    async def main() -> None:
        observed, given_up, refused = Observed(max_queue=2), Times(), Times()
        held = observed.ask(1, Times())
        late = observed.ask(2, given_up, seconds=0.01)
        await settle()
        assert isinstance(await refusal(observed.ask(1, refused)), QueueFull)
        assert isinstance(await refusal(late), DeadlinePassed)
        observed.engine.released.set()
        await held
        await observed.close()
        assert len(observed.notes.waits) == 2
        assert (given_up.queue or 0) > 0
        assert (given_up.inference, refused.queue) == (None, None)
        assert observed.notes.queues[-1] == 0

    asyncio.run(main())
