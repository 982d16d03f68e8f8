"""uvloop's event loop, but for how it takes new connections.

uvloop takes one in each turn of its loop (libuv, pull request 3696). Under load a turn is long, the system's queue of
connections overflows, and clients wait for TCP's own retries, for seconds, to be told that the server is busy. This one
takes all that wait, as asyncio's own loop does, which is slower in everything else.
"""

import asyncio
import contextlib
import errno
import logging
import socket
from asyncio import constants
from collections.abc import Callable
from ssl import SSLContext
from typing import Any

import uvloop

logger = logging.getLogger(__name__)

AT_ONCE = 256  # connections in a turn of the loop: those that are open already want something, too
_SHORT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE = 1.0  # seconds in which what the system is short of may be given back; asyncio's figure

Factory = Callable[[], asyncio.BaseProtocol]


def loop_factory(*, use_subprocess: bool) -> type["Loop"]:
    """As uvicorn asks for it."""
    return Loop


class Loop(uvloop.Loop):
    """An event loop for a server that is given its socket."""

    async def create_server(  # type: ignore[override]
        self, factory: Factory, *, sock: socket.socket, backlog: int, ssl: SSLContext | None
    ) -> Any:
        """Serve from now on; `sock` is bound, and closed with what this returns."""
        sock.setblocking(False)
        sock.listen(backlog)
        return Listener(self, factory, sock, ssl)


class Listener:
    """What uvicorn needs of an `asyncio.Server`: it takes connections from `listening` until it is closed."""

    def __init__(self, loop: Loop, factory: Factory, listening: socket.socket, ssl: SSLContext | None) -> None:
        self.sockets = [listening]
        self._loop = loop
        self._factory = factory
        self._ssl = ssl  # by BentoML's own options; by ours the loop is asyncio's
        self._listening = listening
        self._opening: set[asyncio.Task[None]] = set()
        self._start()

    def _start(self) -> None:
        if self.sockets:
            self._loop.add_reader(self._listening, self._take)

    def _take(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _SHORT_OF:
                    raise
                logger.error("No connection can be taken for %.0f s: %s", _PAUSE, error)
                self._loop.remove_reader(self._listening)
                self._loop.call_later(_PAUSE, self._start)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._open(connection))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _open(self, connection: socket.socket) -> None:
        patience = constants.SSL_HANDSHAKE_TIMEOUT if self._ssl else None
        with contextlib.suppress(OSError):  # its client has gone
            await self._loop.connect_accepted_socket(
                self._factory, connection, ssl=self._ssl, ssl_handshake_timeout=patience
            )

    def close(self) -> None:
        if self.sockets:
            self.sockets = []
            self._loop.remove_reader(self._listening)
            self._listening.close()

    async def wait_closed(self) -> None:
        """Nothing is left to wait for: uvicorn itself waits for the connections."""
