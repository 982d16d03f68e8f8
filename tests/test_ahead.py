"""What a client sends ahead of its answers waits outside, and a connection keeps nothing of what it has answered."""

import asyncio
import gc
import weakref
from typing import Any

import pytest
from batching import PATIENCE
from breakable import over_tcp

from serving.http.connection import Connection

COUNT = 20_000
SMALL = b"GET / HTTP/1.1\r\n\r\n"
MOST = 1000  # of the requests that may be known and not begun: many, and a fraction of those that were sent
BODY = 2_000_000
TURNS = 10  # of the event loop, in which what has ended is forgotten


class Watching:
    """An application that looks at its connection with each request: what it holds of those that wait."""

    def __init__(self) -> None:
        self.connection: Connection
        self.requests = self.bytes = 0  # that waited, at most

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        waiting = list(self.connection.pipeline)
        self.requests = max(self.requests, len(waiting))
        self.bytes = max(self.bytes, sum(len(cycle.body) for cycle, _ in waiting))
        if scope["method"] == "POST":
            while (await receive())["more_body"]:
                pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"hi"})


@pytest.mark.parametrize("more", [b"", SMALL * 1000])
def test_a_connection_that_ends_before_its_answers_leaves_nothing(monkeypatch: pytest.MonkeyPatch, more: bytes) -> None:
    """Not even for the collector, which comes by rarely."""
    expecting = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n"

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def main() -> None:
        async with over_tcp(refuse, monkeypatch) as (server, port):
            gc.collect()
            gc.disable()
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(expecting + bytes(1000) + more)
            async with asyncio.timeout(PATIENCE):
                while not server.server_state.total_requests:
                    await asyncio.sleep(0)
                held = weakref.WeakSet([*server.server_state.connections])
                writer.transport.abort()
                while server.server_state.connections:
                    await asyncio.sleep(0)
            for _ in range(TURNS):
                await asyncio.sleep(0)
            assert not held

    try:
        asyncio.run(main())
    finally:
        gc.enable()


async def answers(port: int, sent: bytes, count: int) -> None:
    """Send it all while the answers are read, and wait for so many."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        writer.write(sent)
        await writer.drain()

    async with asyncio.timeout(PATIENCE):
        sending = asyncio.create_task(send())
        for _ in range(count):
            await reader.readuntil(b"\r\n\r\nhi")
        await sending
    writer.close()


@pytest.mark.parametrize("upload", [b"", b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % BODY + bytes(BODY)])
def test_what_is_sent_ahead_is_answered_and_not_kept(monkeypatch: pytest.MonkeyPatch, upload: bytes) -> None:
    app = Watching()

    async def main() -> None:
        async with over_tcp(app, monkeypatch) as (_, port):
            await answers(port, SMALL * COUNT + upload, COUNT + bool(upload))

    watch(app, monkeypatch)
    asyncio.run(main())
    assert 0 < app.requests < MOST
    assert app.bytes < BODY / 10


def test_a_silent_connection_keeps_nothing_of_its_last_request(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Watching()

    async def main() -> None:
        async with over_tcp(app, monkeypatch) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /%b HTTP/1.1\r\nX-Long: %b\r\n\r\n" % (b"u" * 30_000, b"h" * 30_000))
            await reader.readuntil(b"\r\n\r\nhi")
            left = app.connection
            assert not any((left.url, left.headers, left.scope, left.cycle.scope, left.cycle.body))
            writer.write(SMALL)
            await reader.readuntil(b"\r\n\r\nhi")
            writer.close()

    watch(app, monkeypatch)
    asyncio.run(main())


def watch(app: Watching, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Connection.connection_made

    def connection_made(self: Connection, transport: Any) -> None:
        app.connection = self
        made(self, transport)

    monkeypatch.setattr(Connection, "connection_made", connection_made)
