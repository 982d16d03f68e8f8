"""The batcher between many callers and one engine: what is computed when, and in which batches."""

import asyncio
import os
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from batching import MAX_BATCH, PATIENCE, Desk, Engine, numbered, numbers, numbers_of, refusal, settle

from cifar_models.bundle import Probabilities
from cifar_models.picture import Pixels
from serving.batching.niceness import let_the_event_loop_go_first
from serving.errors import NotReady


def test_every_image_of_many_concurrent_callers_is_computed_once_and_in_order() -> None:
    engine = Engine()
    sizes = np.random.default_rng(0).integers(1, 3 * MAX_BATCH + 1, 200).tolist()
    firsts = [sum(sizes[:index]) for index in range(len(sizes))]

    async def main() -> list[Probabilities]:
        async with Desk(engine, max_queue=sum(sizes)) as desk:
            return await asyncio.gather(*(desk.ask(first, size) for first, size in zip(firsts, sizes, strict=True)))

    for first, size, answer in zip(firsts, sizes, asyncio.run(main()), strict=True):
        assert numbers_of(answer) == list(range(first, first + size))
    assert engine.computed == list(range(sum(sizes)))  # first come, first served
    assert {len(batch) for batch in engine.batches} <= set(range(1, MAX_BATCH + 1))
    assert len(engine.batches) == 1 + -(-(sum(sizes) - len(engine.batches[0])) // MAX_BATCH)  # all full but two


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere niceness is that of a whole process")
def test_the_engine_lets_the_event_loop_go_first_where_both_want_a_core() -> None:
    class Watched(Engine):
        niceness = -1

        def __call__(self, *parts: Pixels) -> Probabilities:
            self.niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
            return super().__call__(*parts)

    engine, before = Watched(), os.getpriority(os.PRIO_PROCESS, 0)

    async def main() -> None:
        async with Desk(engine) as desk:
            await desk.ask(0)

    with ThreadPoolExecutor(1, initializer=let_the_event_loop_go_first) as loading:  # as a server loads its bundles
        loading.submit(asyncio.run, main()).result()
    assert engine.niceness == min(before + 5, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


def test_an_idle_engine_starts_at_once_with_what_is_there() -> None:
    engine = Engine(held=True)

    async def main() -> None:
        async with Desk(engine) as desk:
            first = await desk.hold()
            assert engine.batches == [[0]]
            engine.released.set()
            assert await numbers(first) == [[0]]
            assert await numbers(desk.ask(1)) == [[1]]  # idle again

    asyncio.run(main())
    assert engine.batches == [[0], [1]]


def test_arrivals_gather_while_the_engine_works() -> None:
    engine = Engine(held=True)

    async def main() -> None:
        async with Desk(engine) as desk:
            tasks = [await desk.hold(), *(desk.ask(first) for first in (1, 2, 3))]
            await settle()
            engine.released.set()
            assert await numbers(*tasks) == [[0], [1], [2], [3]]

    asyncio.run(main())
    assert engine.batches == [[0], [1, 2, 3]]


def test_a_request_larger_than_a_batch_is_cut_and_its_rest_stays_first() -> None:
    engine = Engine(held=True)

    async def main() -> None:
        async with Desk(engine) as desk:
            tasks = [await desk.hold(), desk.ask(1, 6), desk.ask(7, 3)]
            await settle()
            engine.released.set()
            assert await numbers(*tasks) == [[0], [1, 2, 3, 4, 5, 6], [7, 8, 9]]

    asyncio.run(main())
    assert engine.batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_images_leave_the_memory_once_they_are_answered() -> None:
    async def main() -> None:
        async with Desk(Engine()) as desk:
            images = numbered(0, 3)
            seen = weakref.ref(images)
            await desk.batcher.classify(images, deadline=asyncio.get_running_loop().time() + PATIENCE)
            del images
            async with asyncio.timeout(PATIENCE):
                while not desk.batcher._queue._idle:
                    await asyncio.sleep(0)
            assert seen() is None

    asyncio.run(main())


def test_closing_answers_what_was_accepted_and_refuses_what_comes_then() -> None:
    engine = Engine(held=True)
    threads = set(threading.enumerate())

    async def main() -> None:
        async with Desk(engine) as desk:
            tasks = [await desk.hold(), desk.ask(1, 6), desk.ask(7)]
            await settle()
            closing = asyncio.ensure_future(desk.batcher.close())
            await settle()
            assert isinstance(await refusal(desk.ask(100)), NotReady)
            assert not closing.done()
            engine.released.set()
            await closing
            assert [len(part) for part in await numbers(*tasks)] == [1, 6, 1]

    asyncio.run(main())
    assert engine.computed == list(range(8))
    assert set(threading.enumerate()) <= threads


def test_what_is_accepted_in_the_turn_of_closing_is_answered() -> None:
    async def main() -> None:
        async with Desk(Engine()) as desk:
            assert await numbers(desk.ask(0)) == [[0]]
            last, closing = desk.ask(1), asyncio.ensure_future(desk.batcher.close())
            assert await numbers(last) == [[1]]
            await closing

    asyncio.run(main())


def test_an_idle_batcher_closes() -> None:
    async def main() -> None:
        async with Desk(Engine()) as desk:
            await desk.batcher.close()
            assert isinstance(await refusal(desk.ask(0)), NotReady)

    asyncio.run(main())
