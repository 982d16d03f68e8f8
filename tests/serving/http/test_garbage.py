"""Requests and connections that have ended free themselves: collections would cost more than the answers, and rare
ones would let a worker grow with all that has come and gone."""

import asyncio
import gc
import socket
import struct
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import uvicorn
from batching import PATIENCE, Desk, Engine, numbered
from breakable import over_tcp

from serving.errors import DeadlinePassed, EngineFailed, Unreadable
from serving.http.loop import Loop
from serving.http.threads import run

TURNS = 10  # of the event loop, in which what has ended is forgotten
REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_connection_that_has_ended_leaves_nothing(monkeypatch: pytest.MonkeyPatch, reset: bool) -> None:
    async def main() -> None:
        async with over_tcp(hello, monkeypatch) as (server, port):
            gc.collect()
            gc.disable()
            held = await ask_and_leave(server, port, reset=reset)
            async with asyncio.timeout(PATIENCE):
                while server.server_state.connections:
                    await asyncio.sleep(0)
            left = await garbage_types()
            assert not held
            assert not any("Transport" in kind.__name__ for kind in left)

    try:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(main())
    finally:
        gc.enable()


EXPECTING = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n" + bytes(1000)


@pytest.mark.parametrize(
    ("sent", "reset"),
    [(EXPECTING, True), (EXPECTING + REQUEST * 1000, True), (REQUEST + b"nonsense\r\n\r\n", False)],
    ids=["refused unread", "many requests", "nonsense, then closed"],
)
def test_a_connection_that_ends_before_its_answers_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, reset: bool
) -> None:
    asked = asyncio.Event()

    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        if scope["method"] == "POST":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        asked.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    async def main() -> None:
        async with over_tcp(refuse, monkeypatch) as (server, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            async with asyncio.timeout(PATIENCE):
                await asked.wait()
                held = weakref.WeakSet([*server.server_state.connections])
                (writer.transport.abort if reset else writer.close)()
                while server.server_state.connections:
                    await asyncio.sleep(0)
            await forget()
            assert not held

    without_collections(main)


class Body:
    """What a request holds while it is decoded."""


def test_what_a_thread_refuses_is_let_go() -> None:
    def refuse(body: Body) -> None:
        raise Unreadable("The picture is damaged.")

    async def main() -> None:
        body = Body()
        held = weakref.ref(body)
        with ThreadPoolExecutor(1) as threads, suppress(Unreadable):
            await run(threads, refuse, body)
        del body
        await forget()
        assert held() is None

    without_collections(main)


@pytest.mark.parametrize("ended_by", ["the deadline", "the engine"])
def test_images_without_an_answer_are_let_go(monkeypatch: pytest.MonkeyPatch, ended_by: str) -> None:
    monkeypatch.setattr("serving.batching.batcher.logger.disabled", True)  # pytest keeps what is logged, and its frames
    late = ended_by == "the deadline"

    async def main() -> None:
        async with Desk(Engine(held=late, poison=set() if late else {0})) as desk:
            images = numbered(0, 1)
            held = weakref.ref(images)
            loop = asyncio.get_running_loop()
            with suppress(DeadlinePassed, EngineFailed):
                await desk.batcher.classify(images, deadline=loop.time() + (0.01 if late else PATIENCE))
            del images
        await forget()
        assert held() is None

    without_collections(main)


def without_collections(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(main())
    finally:
        gc.enable()


async def forget() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


async def ask_and_leave(server: uvicorn.Server, port: int, *, reset: bool) -> weakref.WeakSet[Any]:
    """One request on a connection that is kept alive, and the end of it, by a socket without any transport.

    What the server had of the connection, as long as it has it.
    """
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, REQUEST)
        answer = b""
        while not answer.endswith(b"hi"):
            answer += await loop.sock_recv(client, 65536)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", int(reset), 0))
        return weakref.WeakSet(server.server_state.connections)


async def garbage_types() -> set[type]:
    """Of what the collector alone frees."""
    await forget()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return {type(each) for each in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
