"""How many requests a client has under way at once, and what becomes of the others when one fails."""

import asyncio
import threading

import httpx
import numpy as np
import pytest
from asking import MODEL, URL, answer_all, count_images, predictions, refused
from bodies import pictures
from PIL import Image

from serving.client import AsyncClient, ClassifyError


class Gate:
    """Answers only when `together` requests are waiting, and notes how many there ever were."""

    def __init__(self, together: int) -> None:
        self.now = self.most = 0
        self._barrier = asyncio.Barrier(together)

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        await self._barrier.wait()
        self.now -= 1
        return answer_all(request)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_so_many_requests_are_under_way_at_once_and_no_more(concurrency: int) -> None:
    async def main() -> int:
        gate = Gate(concurrency)
        transport = httpx.MockTransport(gate)
        async with AsyncClient(URL, batch_size=2, concurrency=concurrency, transport=transport) as client:
            answer = await client.classify(pictures(24))
        assert len(answer.predictions) == 24
        return gate.most

    assert asyncio.run(main()) == concurrency


def test_answers_that_come_in_another_order_are_put_in_order() -> None:
    async def main() -> list[int]:
        answered = [asyncio.Event() for _ in range(4)]
        answered[3].set()

        async def handle(request: httpx.Request) -> httpx.Response:
            first = request.content[0]
            await answered[first + 1].wait()  # the first image's answer comes last
            answered[first].set()
            content = {"model": MODEL, "predictions": predictions(count_images(request), index=first)}
            return httpx.Response(200, json=content)

        images = np.stack([np.full((32, 32, 3), level, np.uint8) for level in range(3)])
        async with AsyncClient(URL, batch_size=1, transport=httpx.MockTransport(handle)) as client:
            return [prediction.index for prediction in (await client.classify(images)).predictions]

    assert asyncio.run(main()) == [0, 1, 2]


def test_when_one_request_fails_the_others_are_not_left_running() -> None:
    async def main() -> tuple[int, int]:
        cancelled = 0

        async def handle(request: httpx.Request) -> httpx.Response:
            nonlocal cancelled
            if request.content[0] == 2:
                return refused(422, "unacceptable", index=0)
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled += 1
                raise
            raise AssertionError

        images = np.stack([np.full((32, 32, 3), level, np.uint8) for level in range(9)])
        async with AsyncClient(URL, batch_size=1, concurrency=3, transport=httpx.MockTransport(handle)) as client:
            with pytest.raises(ClassifyError, match="image 2: Said so") as caught:
                await client.classify(images)
        assert caught.value.index == 2
        return cancelled, len(asyncio.all_tasks())

    assert asyncio.run(main()) == (2, 1)


def test_who_is_cancelled_while_a_picture_is_read_waits_for_its_end() -> None:
    begun, free = threading.Event(), threading.Event()

    async def main() -> None:
        picture, read = Image.new("RGB", (32, 32)), []

        def load() -> None:
            begun.set()
            read.append(free.wait(10))

        picture.load = load  # type: ignore[method-assign]
        async with AsyncClient(URL, transport=httpx.MockTransport(answer_all)) as client:
            asked = asyncio.create_task(client.classify(picture))
            await asyncio.to_thread(begun.wait)
            asked.cancel()
            for _ in range(50):  # turns of the loop, in which it would end
                await asyncio.sleep(0)
            assert not asked.done()
            asked.cancel()
            for _ in range(50):
                await asyncio.sleep(0)
            assert not asked.done()
            free.set()
            await asyncio.wait([asked])
            assert asked.cancelled()
            assert read

    asyncio.run(main())
