"""One HTTP/1.1 connection of the open loop's client: as little work per answer as there can be."""

import asyncio
from collections.abc import Callable
from typing import cast

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"

LOST = 0  # instead of a status, when the connection ended before the answer


class Connection(asyncio.Protocol):
    """Sends one request at a time; `on_answer(connection, status, head, body)` hears of each, LOST for one that failed.

    `head` is in lower case. `on_closed(connection)` hears of the end of a connection that waits for nothing.
    """

    def __init__(
        self,
        on_answer: Callable[["Connection", int, bytes, bytes], None],
        on_closed: Callable[["Connection"], None],
    ) -> None:
        self.request = -1  # index of the one that waits for its answer; none: -1
        self.answers = 0
        self._on_answer = on_answer
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: int, data: bytes) -> None:
        assert self._transport is not None, "not connected yet"
        self.request = request
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_HEAD_END)
        if end < 0:
            return
        head = self._received[:end].lower()
        start = head.index(_LENGTH) + len(_LENGTH)  # ValueError ends the connection: our server never omits it
        length = int(head[start:].partition(b"\r\n")[0])
        body = self._received[end + len(_HEAD_END) :]
        if len(body) >= length:
            self._received = b""
            self.answers += 1
            self._on_answer(self, int(head[9:12]), head, body)

    def connection_lost(self, error: Exception | None) -> None:
        if self.request < 0:
            self._on_closed(self)
        else:
            self._on_answer(self, LOST, b"", b"")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
