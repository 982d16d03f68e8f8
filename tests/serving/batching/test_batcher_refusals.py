"""What the batcher refuses, drops and lets fail, and that nothing else suffers from it."""

import asyncio
import gc
import weakref

import pytest
from batching import MAX_BATCH, PATIENCE, Desk, Engine, numbered, numbers, refusal, settle

from serving.errors import DeadlinePassed, EngineFailed, QueueFull


def test_a_full_queue_refuses_at_once_and_counts_images() -> None:
    engine = Engine(held=True)

    async def main() -> None:
        async with Desk(engine, max_queue=5) as desk:
            held = await desk.hold()  # it computes: it does not wait any more
            accepted = [desk.ask(1, 3)]
            await settle()
            assert isinstance(await refusal(desk.ask(100, 3)), QueueFull)
            accepted.append(desk.ask(4, 2))
            assert isinstance(await refusal(desk.ask(200)), QueueFull)
            engine.released.set()
            assert await numbers(held, *accepted) == [[0], [1, 2, 3], [4, 5]]
            assert await numbers(desk.ask(6, 5)) == [[6, 7, 8, 9, 10]]  # there is room again

    asyncio.run(main())
    assert engine.computed == list(range(11))


def test_images_that_nobody_waits_for_any_more_are_not_kept() -> None:
    engine = Engine(held=True)

    async def main() -> None:
        async with Desk(engine) as desk:
            held = await desk.hold()
            first, images = desk.ask(1), numbered(2, 3)
            kept = weakref.ref(images)
            gone = asyncio.ensure_future(
                desk.batcher.classify(images, deadline=asyncio.get_running_loop().time() + PATIENCE)
            )
            del images
            await settle()
            gone.cancel()
            await asyncio.wait([gone])
            del gone
            gc.collect()
            assert kept() is None  # though the engine, which hangs, has not come to take them
            engine.released.set()
            assert await numbers(held, first) == [[0], [1]]

    asyncio.run(main())


def test_a_request_whose_deadline_has_passed_is_never_computed() -> None:
    engine = Engine(held=True)

    async def main() -> None:
        async with Desk(engine) as desk:
            tasks = [await desk.hold(), desk.ask(1)]
            assert isinstance(await refusal(desk.ask(100, 6, seconds=0)), DeadlinePassed)
            tasks.append(desk.ask(2))
            await settle()
            engine.released.set()
            await asyncio.gather(*tasks)

    asyncio.run(main())
    assert engine.batches == [[0], [1, 2]]


def test_nobody_waits_for_a_working_engine_beyond_the_deadline() -> None:
    engine = Engine(held=True)

    async def main() -> None:
        async with Desk(engine) as desk:
            assert isinstance(await refusal(desk.ask(0, seconds=0.01)), DeadlinePassed)
            assert not engine.released.is_set()
            engine.released.set()
            assert await numbers(desk.ask(1)) == [[1]]

    asyncio.run(main())


def test_images_of_a_caller_who_has_gone_are_not_computed() -> None:
    engine = Engine(held=True)

    async def main() -> None:
        async with Desk(engine) as desk:
            held = await desk.hold()
            gone, stays = desk.ask(100, 3), desk.ask(1)
            await settle()
            gone.cancel()
            await asyncio.wait([gone])
            engine.released.set()
            await asyncio.gather(held, stays)

    asyncio.run(main())
    assert engine.batches == [[0], [1]]


def test_the_rest_of_a_large_request_is_dropped_when_its_caller_goes() -> None:
    engine = Engine(held=True)

    async def main() -> None:
        async with Desk(engine) as desk:
            large = desk.ask(100, 3 * MAX_BATCH)
            assert await asyncio.to_thread(engine.started.wait, PATIENCE)
            large.cancel()
            await asyncio.wait([large])
            engine.released.set()
            assert await numbers(desk.ask(1)) == [[1]]

    asyncio.run(main())
    assert engine.batches == [[100, 101, 102, 103], [1]]


@pytest.mark.parametrize("guilty", [1, 2, 3, 4])
def test_a_poisoned_request_fails_alone(guilty: int) -> None:
    engine = Engine(held=True, poison={guilty})

    async def main() -> None:
        async with Desk(engine) as desk:
            tasks = {0: await desk.hold()} | {first: desk.ask(first) for first in (1, 2, 3, 4)}
            await settle()
            engine.released.set()
            assert isinstance(await refusal(tasks.pop(guilty)), EngineFailed)
            for first, task in tasks.items():
                assert await numbers(task) == [[first]]
            assert await numbers(desk.ask(5)) == [[5]]

    asyncio.run(main())
    assert engine.batches[1] == [1, 2, 3, 4]  # they were neighbours


def test_a_poisoned_large_request_fails_as_a_whole_and_alone() -> None:
    engine = Engine(held=True, poison={3})

    async def main() -> None:
        async with Desk(engine) as desk:
            tasks = [await desk.hold(), desk.ask(1, 10), desk.ask(11, 3)]
            await settle()
            engine.released.set()
            assert isinstance(await refusal(tasks[1]), EngineFailed)
            assert await numbers(tasks[0]) == [[0]]
            assert await numbers(tasks[2]) == [[11, 12, 13]]

    asyncio.run(main())
    assert engine.batches == [[0], [1, 2, 3, 4], [11, 12, 13]]  # its rest is not computed
