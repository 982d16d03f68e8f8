"""A connection that has answered its last request ends, whatever its client does or does not do."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from batching import PATIENCE
from breakable import over_tcp

from serving.http.connection import Connection

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"
NONSENSE = b"nonsense\r\n\r\n"
UNREAD = 60 * 1024  # bytes: less than what makes uvicorn wait until it is read


@asynccontextmanager
async def asked(
    app: Any, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> AsyncIterator[tuple[uvicorn.Server, socket.socket]]:
    """A server that soon loses patience, and a client with little room for answers that has sent it this."""
    async with over_tcp(app, monkeypatch) as (uvicorn_server, port):
        monkeypatch.setattr(Connection, "seconds", 0.1)
        uvicorn_server.config.timeout_keep_alive = 1
        uvicorn_server.servers[0].sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, sent)
            async with asyncio.timeout(PATIENCE):
                yield uvicorn_server, client


async def wait_for_the_end(uvicorn_server: uvicorn.Server) -> None:
    while uvicorn_server.server_state.connections:
        await asyncio.sleep(0)


async def answer(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-length", b"%d" % UNREAD)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(UNREAD)})


def test_a_server_that_stops_does_not_wait_for_a_client_who_takes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with asked(answer, monkeypatch, LAST) as (uvicorn_server, _):
            while not (held := list(uvicorn_server.server_state.connections)) or not held[0].transport.is_closing():
                await asyncio.sleep(0)
            assert held[0].transport.get_write_buffer_size() > 0
            await uvicorn_server.shutdown()

    asyncio.run(main())


@pytest.mark.parametrize("rest", [b"", NONSENSE])
def test_who_ends_its_half_and_takes_no_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch, rest: bytes) -> None:
    async def main() -> None:
        async with asked(answer, monkeypatch, GET + rest) as (uvicorn_server, client):
            while (
                not (held := list(uvicorn_server.server_state.connections))
                or not held[0].transport.get_write_buffer_size()
            ):
                await asyncio.sleep(0)
            client.shutdown(socket.SHUT_WR)
            await wait_for_the_end(uvicorn_server)

    asyncio.run(main())


def test_an_answer_that_breaks_off_ends_its_connection_whatever_follows_its_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = asyncio.Event()

    async def break_off(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        broken.set()
        raise RuntimeError("broken")

    async def main() -> None:
        async with asked(break_off, monkeypatch, GET + NONSENSE) as (uvicorn_server, _):
            await broken.wait()
            await wait_for_the_end(uvicorn_server)

    asyncio.run(main())


def test_no_request_is_begun_behind_a_body_whose_answer_was_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[str] = []

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        asked_for.append(scope["method"])
        headers = [(b"content-length", b"0"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def main() -> None:
        begun = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nab"
        async with asked(refuse, monkeypatch, begun) as (uvicorn_server, client):
            loop = asyncio.get_running_loop()
            while await loop.sock_recv(client, 4096):
                pass
            await loop.sock_sendall(client, b"cd" + GET)
            await wait_for_the_end(uvicorn_server)

    asyncio.run(main())
    assert asked_for == ["POST"]
