"""A client that goes away while its request waits costs no computing; one that stays notices nothing."""

import asyncio

import pytest
import uvicorn
from batching import PATIENCE
from bodies import RAW, pictures
from breakable import Exchange, bare_connections, breakable, not_found

from serving.http.app import App


def test_images_of_a_client_who_has_gone_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with breakable(monkeypatch) as (server, engine):
            engine.go.clear()
            held = Exchange(server, mark=1)
            await engine.reach(1)
            goes, stays = Exchange(server, mark=2), Exchange(server, mark=3)
            await engine.wait_for_queue(2)
            goes.departure.happen()
            await asyncio.wait_for(goes.task, PATIENCE)
            engine.go.set()
            assert [(await exchange.answer())[0] for exchange in (held, stays)] == [200, 200]
            assert goes.sent == []  # nobody is left to answer
            assert engine.computed == [1, 3]

    asyncio.run(main())


def test_images_of_a_client_who_went_while_they_were_read_are_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with breakable(monkeypatch) as (server, engine):
            exchange = Exchange(server, mark=1)
            exchange.departure.happen()
            await asyncio.wait_for(exchange.task, PATIENCE)
            assert exchange.sent == []
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


@pytest.mark.parametrize("gone", [False, True], ids=["the client stays", "the client goes too"])
def test_a_request_that_somebody_else_cancels_is_cancelled(monkeypatch: pytest.MonkeyPatch, gone: bool) -> None:
    async def main() -> None:
        async with breakable(monkeypatch) as (server, engine):
            engine.go.clear()
            exchange = Exchange(server, mark=1)
            await engine.reach(1)
            exchange.task.cancel()
            if gone:
                exchange.departure.happen()
            with pytest.raises(asyncio.CancelledError):
                await exchange.task

    asyncio.run(main())


def test_a_connection_that_is_closed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over TCP, by the connections that we give the server that BentoML runs."""
    connection = bare_connections(monkeypatch)

    async def send(port: int, mark: int) -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        images = pictures(1).copy()
        images[:, 0, 0, 0] = mark
        head = f"POST /classify HTTP/1.1\r\nHost: a\r\nContent-Type: {RAW}\r\nContent-Length: {images.nbytes}\r\n\r\n"
        writer.write(head.encode() + images.tobytes())
        await writer.drain()
        return writer

    async def main() -> None:
        async with breakable(monkeypatch) as (server, engine):
            app = App(not_found, server)
            config = uvicorn.Config(app, port=0, http=connection, loop="asyncio", log_level="error", lifespan="off")
            http = uvicorn.Server(config)
            config.load()
            http.lifespan = config.lifespan_class(config)
            await http.startup()
            port = http.servers[0].sockets[0].getsockname()[1]
            engine.go.clear()
            writers = [await send(port, mark=1)]
            await engine.reach(1)
            writers.append(await send(port, mark=2))
            await engine.wait_for_queue(1)
            writers[1].close()
            await engine.wait_for_queue(0)
            engine.go.set()
            await http.shutdown()
            writers[0].close()
            assert engine.computed == [1]

    asyncio.run(main())
