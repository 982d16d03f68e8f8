"""A client that goes away while its request waits costs no computing; one that stays notices nothing."""

import asyncio
from typing import Any

import numpy as np
import pytest
from batching import PATIENCE
from bodies import RAW, pictures
from breakable import Exchange, breakable, not_found, over_tcp

from serving.http.app import App

TURNS = 20  # of the event loop, in which a piece is read and waited for the next one


def test_images_of_a_client_who_has_gone_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with breakable(monkeypatch) as (server, engine):
            engine.go.clear()
            held = Exchange(server, mark=1)
            await engine.reach(1)
            goes, stays = Exchange(server, mark=2), Exchange(server, mark=3)
            await engine.wait_for_queue(2)
            await goes.leave()
            engine.go.set()
            assert [(await exchange.answer())[0] for exchange in (held, stays)] == [200, 200]
            assert goes.sent == []
            assert engine.computed == [1, 3]

    asyncio.run(main())


def test_images_of_a_client_who_went_while_they_were_read_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Exchange):
        async def _receive(self) -> dict[str, Any]:
            return {"type": "http.disconnect"}

    async def main() -> None:
        async with breakable(monkeypatch) as (server, engine):
            exchange = Gone(server, mark=1)
            await asyncio.wait_for(exchange.task, PATIENCE)
            assert exchange.sent == []  # nobody is left to answer
            assert engine.calls == 0

    asyncio.run(main())


def test_a_request_that_waits_takes_no_task_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with breakable(monkeypatch) as (server, engine):
            engine.go.clear()
            before = asyncio.all_tasks()
            exchange = Exchange(server, mark=1)
            await engine.reach(1)
            assert asyncio.all_tasks() == before | {exchange.task}
            engine.go.set()
            assert (await exchange.answer())[0] == 200

    asyncio.run(main())


def ask(*marks: int, images: int = 1) -> bytes:
    """A request of so many images, as it is sent, for each mark."""
    pixels = np.concatenate([pictures(1)] * images)
    requests = []
    for mark in marks:
        pixels[:, 0, 0, 0] = mark
        head = f"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Type: {RAW}\r\nContent-Length: {pixels.nbytes}\r\n\r\n"
        requests.append(head.encode() + pixels.tobytes())
    return b"".join(requests)


@pytest.mark.parametrize(
    ("asked", "images", "beginning"),
    [(ask(2), 1, 0), (ask(2, images=40), 40, 200), (ask(2, 3), 1, 0)],
    ids=["short", "long", "pipelined"],
)
def test_a_connection_that_is_closed_is_noticed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, asked: bytes, images: int, beginning: int
) -> None:
    """Over TCP. More than 64 KB at once, for a request that waits for them, make uvicorn stop reading."""

    async def send(port: int, request: bytes, beginning: int = 0) -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        for piece in (request[:beginning], request[beginning:]):
            writer.write(piece)
            await writer.drain()
            for _ in range(TURNS):
                await asyncio.sleep(0)
        return writer

    async def main() -> None:
        async with (
            breakable(monkeypatch) as (server, engine),
            over_tcp(App(not_found, server), monkeypatch) as (_, port),
        ):
            engine.go.clear()
            writers = [await send(port, ask(1))]
            await engine.reach(1)
            writers.append(await send(port, asked, beginning))
            await engine.wait_for_queue(images)
            writers[1].close()
            await engine.wait_for_queue(0)
            engine.go.set()
            async with asyncio.timeout(PATIENCE):
                while server.busy:
                    await asyncio.sleep(0)
            writers[0].close()
            assert engine.computed == [1]

    asyncio.run(main())
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
