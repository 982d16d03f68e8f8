"""SIGTERM: what was accepted is answered, and who comes meanwhile is told to go elsewhere.

uvicorn alone would stop accepting connections at once, while BentoML's parent process keeps the port open until its
last worker has gone: a client who comes in between waits for an answer that nobody will give, and is cut off. So a
worker goes on accepting, and refuses with 503, until it has answered all that it owes; then it gives the port up.

A worker may also be stopped by itself, by `kill` or by SIGHUP to its parent, and another one takes its place. Then the
port is left as it is: who comes meanwhile is refused as well, or waits for the other one.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import select
import signal
import socket
import struct
import sys
from functools import cache, partial
from math import ceil
from pathlib import Path
from typing import Any

import uvicorn

from serving.http.connection import Connection
from serving.http.parent import END
from serving.http.server import Server
from serving.observing.metrics import FOLDER
from serving.settings import Settings

logger = logging.getLogger(__name__)

_TOGETHER = 0.3  # seconds between a signal to this process and to its parent, where both get one
_LOOK = 0.02  # seconds between looks at what is owed
_HANDSHAKE = 0.1  # seconds that a connection may take from its first packet to the queue of those who wait
_SPARE = 5.0  # seconds, beyond those that answers, their clients and the engines' threads may take
_TURNS = 100  # of the event loop, at most, to accept those who wait for a connection

# A packet filter (Linux, socket(7) and bpf(4)), code, jumps and operand each: load the byte of the TCP header that has
# the flags; is this a first packet, that is SYN? Then let 0 bytes of it in, else all.
_ATTACH_FILTER = 26
_NO_NEWCOMERS = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def drain_on_sigterm(server: Server, *, alone: bool) -> None:
    """Called in a worker once it is up, on its event loop; does nothing where it is not uvicorn that runs it.

    `alone`: no other worker accepts from the same port, so that it may be closed for all when all are stopped.
    """
    uvicorn_server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(uvicorn_server, uvicorn.Server):
        loop = asyncio.get_running_loop()
        begin = cache(lambda: loop.create_task(drain(server, uvicorn_server, alone)))  # a second signal changes nothing
        loop.add_signal_handler(signal.SIGTERM, begin)
        server.give_up = partial(end_worker, server.settings)


async def drain(server: Server, uvicorn_server: uvicorn.Server, alone: bool) -> None:
    """What a worker does between SIGTERM and uvicorn's own end."""
    server.drain()
    Connection.draining = True
    for connection in uvicorn_server.server_state.connections:
        if isinstance(connection, Connection):
            connection.end()
    try:
        while server.busy:
            await asyncio.sleep(_LOOK)
        if alone and await server_stops():
            for listener in uvicorn_server.servers:
                await close_port(listener)
    finally:
        uvicorn_server.handle_exit(signal.SIGTERM, None)


async def server_stops() -> bool:
    """Whether the whole server is stopped, not this worker alone."""
    if FOLDER not in os.environ:
        return False
    end = Path(os.environ[FOLDER], END)
    for _ in range(ceil(_TOGETHER / _LOOK)):
        if end.exists():
            return True
        await asyncio.sleep(_LOOK)
    return False


async def close_port(listener: asyncio.Server) -> None:
    """Who comes from here on is refused by the system, though another process has the port open too.

    The system would cut off those who are connected and not yet accepted. So newcomers find no answer first, and ask
    again, when the port is closed; meanwhile all others are accepted.
    """
    for each in listener.sockets:
        ignore_newcomers(each)
    await asyncio.sleep(_HANDSHAKE)
    sockets: Any = listener.sockets  # select takes whatever has a file number
    for _ in range(_TURNS):
        if not select.select(sockets, [], [], 0)[0]:
            break
        await asyncio.sleep(0)  # the loop accepts them
    for each in listener.sockets:
        with contextlib.suppress(OSError):  # macOS shuts down what is connected only
            each.shutdown(socket.SHUT_RD)
    listener.close()


def ignore_newcomers(listening: Any) -> None:
    """Drop the first packet of every connection to come; where the system cannot, they are not ignored."""
    if sys.platform == "linux":
        code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in _NO_NEWCOMERS))
        with contextlib.suppress(OSError):
            program = struct.pack("HP", len(_NO_NEWCOMERS), ctypes.addressof(code))
            listening.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)


def end_worker(settings: Settings, name: str) -> None:
    """As `kill` does: what was accepted is answered, and another worker chooses its engines anew.

    Called on the main thread. A thread that hangs in a driver must not keep the process.
    """
    logger.error("The engine of %s does not come back: this worker ends, and another takes its place", name)
    signal.alarm(ceil(2 * settings.timeout + settings.client_timeout + _SPARE))  # the system ends it then
    os.kill(os.getpid(), signal.SIGTERM)
