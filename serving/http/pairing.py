"""A transport that sends the head of an answer together with its body."""

import asyncio
from collections.abc import Callable
from typing import Any


class Pairing:
    """Stands before a transport. What is written first waits for what is written next, within one turn of the loop.

    uvicorn writes the head of an answer and its body one after the other: two calls of the system, and two packets that
    each wake the client. Both are a good part of what a small answer costs. `lingers` is asked before the transport is
    closed, and may put that off.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, lingers: Callable[[], bool]
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._lingers: Callable[[], bool] = lingers
        self._first = b""
        self._alone: asyncio.Handle | None = None  # sends it when nothing follows

    def write(self, data: bytes) -> None:
        if self._alone is None:
            self._first = data
            self._alone = self._loop.call_soon(self._flush)
        else:
            self._first += data
            self._flush()

    def close(self) -> None:
        self._flush()
        if not self._lingers():
            self._transport.close()

    def forget(self) -> None:
        """The connection has ended."""
        self._drop()
        self._lingers = bool  # which says no, and holds nothing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if data := self._drop():
            self._transport.write(data)

    def _drop(self) -> bytes:
        if self._alone is not None:
            self._alone.cancel()
            self._alone = None
        data, self._first = self._first, b""
        return data
