"""How our event loop takes connections: all that wait, and none for a while when files run out."""

import asyncio
import os
import resource
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from conftest import serving
from memory import workers
from wire import connected

from serving.http.loop import Loop

CROWD = 50
SPARE = 3  # files that a worker may still open


def test_all_connections_that_wait_are_taken_in_a_turn_of_the_loop_or_two() -> None:
    made: list[asyncio.BaseTransport] = []

    class Noted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport)

    async def take(listening: socket.socket) -> int:
        server = await asyncio.get_running_loop().create_server(Noted, sock=listening, backlog=CROWD, ssl=None)
        with ExitStack() as stack:
            for _ in range(CROWD):
                stack.enter_context(socket.create_connection(listening.getsockname()))
            turns = 0
            while len(made) < CROWD:
                await asyncio.sleep(0)
                turns += 1
            for transport in made:
                transport.close()
        server.close()
        await server.wait_closed()
        return turns

    with socket.socket() as listening, asyncio.Runner(loop_factory=Loop) as runner:
        listening.bind(("127.0.0.1", 0))
        assert runner.run(asyncio.wait_for(take(listening), 30)) < CROWD / 5


@pytest.mark.skipif(sys.platform != "linux", reason="limits another process, and counts its files")
def test_a_worker_without_files_left_answers_again_once_there_are_some(tmp_path: Path) -> None:
    with serving(tmp_path / "log") as server:
        server.wait_until_ready()
        (worker,) = workers(server)
        _, most = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        files = len(os.listdir(f"/proc/{worker}/fd"))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (files + SPARE, most))
        with ExitStack() as stack:
            for _ in range(4 * SPARE):
                stack.enter_context(connected(server))
            with server.log.open() as log:
                while "No connection can be taken" not in log.read():
                    assert server.process.poll() is None
        with httpx.Client(base_url=server.url, timeout=30) as client:
            assert client.get("/readyz").status_code == 200
