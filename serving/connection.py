"""One connection of a client, with the limits that uvicorn lacks: nobody can hold it open by doing nothing.

uvicorn ends a connection that stays silent between two requests. It waits for ever for the rest of a header, for a
client to take its answer, and for the end of a body that it answered already.
"""

import asyncio
import contextlib
import os
import socket
import struct
from typing import Any, ClassVar

from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.answer import refusal_response
from serving.errors import Unreadable

_FORGET = struct.pack("ii", 1, 0)  # linger, for no seconds


def limit_connections(seconds: float) -> None:
    """Make uvicorn, which BentoML starts with the protocol "auto", use Connection."""
    Connection.seconds = seconds
    HTTP_PROTOCOLS["auto"] = f"{__name__}:{Connection.__name__}"


class Connection(HttpToolsProtocol):
    """uvicorn's connection, closed when for `seconds` the client owes the rest of a header, or does not read."""

    seconds: ClassVar[float] = 10.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._header_timer: asyncio.TimerHandle | None = None
        self._reading_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(self.seconds, self._close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_header_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # What came was no whole header: a part of one, empty lines, or a body whose answer is known already.
        if self._header_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._header_timer = self.loop.call_later(self.seconds, self._close)

    def on_headers_complete(self) -> None:
        self._stop_header_timer()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading_timer = self.loop.call_later(self.seconds, self._reset)

    def resume_writing(self) -> None:
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None
        if self.flow is not None:
            super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with an error object, as everything else."""
        body = refusal_response(Unreadable(f"This is no HTTP/1.1: {msg}")).body
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self._close()

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()  # sends what is left to send, however long the client takes
            self._stop_header_timer()
            self._header_timer = self.loop.call_later(self.seconds, self._reset)

    def _reset(self) -> None:
        with contextlib.suppress(OSError):
            fd = self.transport.get_extra_info("socket").fileno()
            # Without this the system would keep what is unsent, up to some megabytes, until the client reads it.
            with socket.socket(fileno=os.dup(fd)) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FORGET)
        self.transport.abort()

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None
