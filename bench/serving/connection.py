"""One HTTP/1.1 connection of the open loop's client: as little work per answer as there can be."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"

LOST = 0  # instead of a status, when the connection ended before the answer
_NONE = -1


class Answer(NamedTuple):
    """Status, head in lower case, body."""

    status: int
    head: bytes = b""
    body: bytes = b""


class Connection(asyncio.Protocol):
    """Sends one request at a time.

    `on_answer(connection, request, answer)` hears of each, with status LOST and what had come for one that failed, and
    `on_closed(connection)` of the end of a connection that waits for nothing.
    """

    def __init__(
        self, on_answer: Callable[["Connection", int, Answer], None], on_closed: Callable[["Connection"], None]
    ) -> None:
        self.request = _NONE  # index of the one that waits for its answer
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
        body = self._received[end + len(_HEAD_END) :]
        if len(body) >= int(head[start:].partition(b"\r\n")[0]):
            self._received = b""
            self.answers += 1
            self._end(Answer(int(head[9:12]), head, body))

    def connection_lost(self, error: Exception | None) -> None:
        if self.request == _NONE:
            self._on_closed(self)
        else:
            self._end(Answer(LOST, self._received))

    def _end(self, answer: Answer) -> None:
        request, self.request = self.request, _NONE  # first: on_answer may send the next
        self._on_answer(self, request, answer)

    def close(self) -> None:
        """Drop the request that waits, if one does."""
        self.request = _NONE
        if self._transport is not None:
            self._transport.abort()
