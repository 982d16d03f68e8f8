"""What a client sends ahead of its answers waits outside, and a connection keeps nothing of what it has answered."""

import asyncio
from typing import Any

import pytest
from batching import PATIENCE
from breakable import over_tcp

from serving.http.connection import Connection

COUNT = 20_000
SMALL = b"GET / HTTP/1.1\r\n\r\n"
MOST = 1000  # of the requests that may be known and not begun: many, and a fraction of those that were sent
BODY = 2_000_000


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
