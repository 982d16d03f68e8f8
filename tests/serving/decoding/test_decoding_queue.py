"""A request whose pictures wait for a thread to decode them counts at the door, and ends when its client goes."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
from batching import PATIENCE
from bodies import Body, form, part, png
from breakable import Exchange, breakable

from serving.batching.admission import Admission
from serving.errors import Unreadable
from serving.http import request
from serving.http.server import Server

# Pixels enough for a thread, in a file so small that it is parsed at once.
LARGE = png(np.zeros((600, 600, 3), np.uint8))


class Upload(Exchange):
    """One POST /classify of this body."""

    def __init__(self, server: Server, body: Body) -> None:
        self._content_type = body.content_type.encode()
        super().__init__(server, mark=0)
        self._body = body.content

    def _scope(self) -> dict[str, Any]:
        return {**super()._scope(), "headers": [(b"content-type", self._content_type)]}


@asynccontextmanager
async def waiting(monkeypatch: pytest.MonkeyPatch, body: Body) -> AsyncIterator[tuple[Server, Upload]]:
    """A server and a request that has arrived while all threads that decode are held; they go on in the end."""
    async with breakable(monkeypatch) as (server, _):
        go = threading.Event()
        for _ in range(2):
            server._threads.submit(go.wait, PATIENCE)
        try:
            async with asyncio.timeout(PATIENCE):
                while server._threads._work_queue.qsize():
                    await asyncio.sleep(0)
                upload = Upload(server, body)
                while not server._threads._work_queue.qsize():
                    await asyncio.sleep(0)
            yield server, upload
        finally:
            go.set()


@pytest.mark.parametrize(
    ("body", "arrived"),
    [(LARGE, [1, 1]), (form(*[part("images", LARGE.content)] * 2), [1, 2])],
    ids=["a picture", "a form"],
)
def test_images_count_at_the_door_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch, body: Body, arrived: list[int]
) -> None:
    told: list[int] = []
    monkeypatch.setattr(Admission, "visit", lambda self: nullcontext(told.append))

    async def main() -> None:
        async with waiting(monkeypatch, body) as (_, upload):
            assert told == arrived
            assert not upload.task.done()

    asyncio.run(main())


def test_pictures_of_a_client_who_has_gone_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Any] = []
    monkeypatch.setattr(request, "decode_all", lambda opened, allowance: decoded.append(opened))

    async def main() -> None:
        async with waiting(monkeypatch, LARGE) as (server, upload):
            await upload.leave()
            assert upload.sent == []  # nobody is left to answer
            assert not server.busy

    asyncio.run(main())
    assert decoded == []


def test_a_picture_that_turns_out_broken_once_its_client_has_gone_is_no_error_of_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go = threading.Event(), threading.Event()

    def fail(*_: Any) -> None:
        begun.set()
        assert go.wait(PATIENCE)
        raise Unreadable("It is no picture.")

    async def main() -> None:
        async with breakable(monkeypatch) as (server, _):
            upload = Upload(server, LARGE)
            assert await asyncio.to_thread(begun.wait, PATIENCE)
            upload.task.cancel()
            await asyncio.sleep(0)
            go.set()
            await upload.leave()
            assert upload.sent == []

    monkeypatch.setattr(request, "decode_all", fail)
    asyncio.run(main())
    gc.collect()  # a future says when it is freed that nobody asked for its exception
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
