"""One connection of a client: to our application at once, and with the limits that uvicorn lacks.

BentoML builds an application of many layers: tracing, a timer and a task for each request, a limit. Ours stands before
all of it, where uvicorn calls it: a request to us costs none of that, nor does one that is refused because the server
has too much to do. What is not ours goes on to BentoML's.

Nobody can hold a connection open by doing nothing. uvicorn ends one that stays silent between two requests. It waits
for ever for the rest of a header, for a client to take its answer, and for the end of a body that it answered already.
Where it does not wait for that end, because the connection ends with the answer, the system would reset the connection,
and who is refused in the middle of a long body would never read why: such a body is read on for a while, and forgotten.

Nobody can make it keep what has not its turn yet. What comes is parsed in pieces, and no further while a request waits
for the one before it; nor is more read then than a little, by which a client's going is noticed.

Each connection costs memory, so there may be `limit` of them. Over one more the server refuses to classify, and the
connection ends with the answer; beyond twice as many they are closed before they have said anything.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.errors import Refusal, Unreadable
from serving.http.alarm import Alarm
from serving.http.answer import bad_request
from serving.http.flow import Flow
from serving.http.header_limit import TOO_LONG, HeaderLimit
from serving.http.pairing import Pairing
from serving.http.turn import Turn
from serving.http.upgrade import Parser
from serving.observing.request_id import HEADER

WrapApp = Callable[[Any], Any]  # an ASGI application to one that stands before it

_FORGET = struct.pack("ii", 1, 0)  # linger, for no seconds
_FAREWELL = 1.0  # seconds that a silent connection has for one more request when the server stops

_PIECE = 4096  # bytes that are parsed at once, if not of one body: 227 of the tiniest requests take half a megabyte

CROWDED = "cifar.crowded"  # in the scope of a request that comes over one connection too many


class Connection(HttpToolsProtocol):
    """uvicorn's connection, closed when for `seconds` the client owes the rest of a header, or does not read."""

    wrap_app: ClassVar[WrapApp]
    unreadable: ClassVar[Callable[[Refusal, Any], bytes]]  # told of what is no HTTP and of its scope; gives it a name
    seconds: ClassVar[float]
    limit: ClassVar[int]
    draining: ClassVar[bool] = False  # every answer is the last one of its connection

    flow: Flow

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.app = Connection.wrap_app(self.app)
        self.parser = Parser(self)
        self.access_log = False  # whose lines nobody reads; ours are in serving/observing/log.py
        self._turn = Turn()
        self._crowded = False
        self._lingering = False
        self._header_limit = HeaderLimit()
        self._unreadable: str | None = None  # why nothing can be read any more, to be said when it is its turn
        self._silent = Alarm(self.loop)  # for too long, or told to end
        self._unread = Alarm(self.loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(Pairing(transport, self.loop, self._lingers))  # type: ignore[arg-type]
        self.flow = Flow(self.transport)
        self._crowded = len(self.connections) > self.limit
        self._silent.set(self.seconds, self._close)
        if len(self.connections) > 2 * self.limit:
            self._reset()

    def connection_lost(self, exc: Exception | None) -> None:
        self._silent.stop()
        self._unread.stop()
        self._turn.leave()
        cast(Pairing, self.transport).forget()  # or uvicorn, which closes it once more, would let it linger
        super().connection_lost(exc)
        # Requests that were not begun hold on to this connection, and would until the collector comes.
        self.pipeline.clear()
        self.cycle = None  # type: ignore[assignment]
        self._unset_keepalive_if_required()  # which uvicorn forgets where the client reset the connection

    def data_received(self, data: bytes) -> None:
        self._parse(self.flow.later + data)

    def _parse(self, data: bytes) -> None:
        """As much of it as no request waits before."""
        left = memoryview(data)
        while left and not self.pipeline and not self._ends and not self._is_last:
            size = max(_PIECE, self._header_limit.body)
            self._parse_piece(left[:size])
            left = left[size:]
        self.flow.keep(b"" if self._ends else bytes(left))
        # What came was no whole header: a part of one, empty lines, or a body whose answer is known already.
        if not self._silent.is_set and (self.cycle is None or self.cycle.response_complete):
            self._silent.set(self.seconds, self._close)

    @property
    def _ends(self) -> bool:
        """Whether nothing more will be read, but for the rest of a body."""
        if self._unreadable is not None or self.transport.is_closing():
            return True
        return self._lingering and not self.cycle.more_body

    @property
    def _is_last(self) -> bool:
        """Whether the newest request has come whole and none will be begun after it."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.keep_alive

    def _parse_piece(self, data: memoryview) -> None:
        self._header_limit.receive(len(data))
        super().data_received(data)  # type: ignore[arg-type] # which hands it to the parser alone
        if self._header_limit.is_exceeded and not self.transport.is_closing():
            self.send_400_response(TOO_LONG)

    def on_message_begin(self) -> None:
        if self._lingering:
            raise ValueError("Nothing is read any more.")  # which ends the parsing
        self._header_limit.begin()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._header_limit.add(len(url))
        super().on_url(url)

    def on_body(self, body: bytes) -> None:
        self._header_limit.add_to_body(len(body))
        super().on_body(body)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_limit.add(len(name) + len(value), lines=1)
        if not self._header_limit.in_header:
            return  # it stands behind the body, where nobody has asked for it (RFC 9110, section 6.5.1)
        if len(name) == 14 and name.lower() == b"content-length":
            self._header_limit.body = int(value)  # of digits, or the parser had refused it
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("This is no proxy.")  # which ends the parsing
            return  # it comes again, without the offer
        self._silent.stop()
        self._header_limit.end()
        if self._crowded:
            self.scope[CROWDED] = True  # type: ignore[literal-required]
        if self.parser.get_http_version() == "1.0":  # it would take the 100 for its answer (RFC 9110, section 10.1.1)
            self.expect_100_continue = False
        super().on_headers_complete()
        if self._crowded or self.draining:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._turn.cycle, self._turn.task = cycle, None
        super()._start_asgi_task(cycle, partial(self._turn.answer, app, cycle))

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._header_limit.add_to_body(0)
        super().on_message_complete()
        self.cycle.more_body = False  # of what is answered already, too
        self.flow.resume_reading()  # which a long body paused: nobody would notice that the client goes
        if self._lingering:
            self._close()

    def on_response_complete(self) -> None:
        if self.cycle.response_complete:
            self._forget()
        super().on_response_complete()
        if self._unreadable is not None and not self.transport.is_closing() and not self._lingering:
            self.send_400_response(self._unreadable)
        elif not self.transport.is_closing():
            if self.flow.later and not self.pipeline:
                self._parse(self.flow.later)
            self.flow.resume_reading()
        if self.transport.is_closing() and not self._silent.is_set:
            self._silent.set(self.seconds, self._reset)  # the client may not read the answer

    def _forget(self) -> None:
        """Keep nothing of a request that is answered: the connection may be silent for long."""
        self.cycle.body = bytearray()  # of one that was refused unread
        self.cycle.scope = {}  # type: ignore[typeddict-item]
        if not self._header_limit.in_header:  # else these are the next one's already
            self.url, self.headers, self.scope = b"", [], self.cycle.scope

    def end(self) -> None:
        """The server drains: no request after the one that is being answered."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """The server stops. uvicorn would close a silent connection while the next request is on its way."""
        if self.transport.is_closing():
            return  # once its client has read the answer, or `_reset` does not wait for that any longer
        if self._lingering or self.cycle is None or self.cycle.response_complete:
            self._silent.set(_FAREWELL, self._close)
        else:
            self.end()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread.set(self.seconds, self._reset)

    def resume_writing(self) -> None:
        self._unread.stop()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        self._close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with an error object, as everything else, and after what came before it."""
        if self._lingering:
            self._unreadable = msg
            return
        if self._unreadable is None and self.pipeline and self.cycle.more_body:
            self.pipeline.popleft()  # the newest, which has not come whole and never will
        if self._owes_an_answer():
            self._unreadable = msg
            return
        broken = self._turn.in_body
        if broken is not None and broken.response_started:  # who reads a second answer takes it for the next request's
            self._close()
            return
        refusal = Unreadable(TOO_LONG if self._header_limit.is_exceeded else f"This is no HTTP/1.1: {msg}")
        name = Connection.unreadable(refusal, broken.scope if broken else {"client": self.client})
        self.transport.write(bad_request(refusal, [*self.server_state.default_headers, (HEADER, name)]))
        self._unreadable = msg
        self._turn.leave()
        self.transport.close()  # or it lingers

    def _owes_an_answer(self) -> bool:
        """Whether a request that has come whole is not answered yet."""
        answering = self._turn.cycle
        if answering is None or answering.response_complete:
            return False
        return bool(self.pipeline) or not answering.more_body

    def _close(self) -> None:
        if not self.transport.is_closing():
            self._lingering = True  # no more: time is up, or the body has come
            self.transport.close()  # sends what is left to send, however long the client takes
        self._silent.set(self.seconds, self._reset)

    def _lingers(self) -> bool:
        """Whether the connection stays for what the client still sends, whose last answer this was.

        The system would reset it, and with it what the client has not read (RFC 9112, section 9.6).
        """
        if self._lingering or not self._more_comes():
            return False
        self._lingering = True
        self._silent.set(self.seconds, self._close)
        if self.pipeline:
            self.pipeline.clear()
            self.cycle = cast(RequestResponseCycle, self._turn.cycle)
        self.flow.later = b""
        self.flow.resume_reading()
        if self.transport.can_write_eof():  # not where it is encrypted
            with contextlib.suppress(OSError):  # the client has gone
                self.transport.write_eof()
        return True

    def _more_comes(self) -> bool:
        """Whether a client who has its answer has sent more, or will."""
        answered = self._turn.cycle
        if answered is None:
            return self._unreadable is not None
        ahead = self.pipeline or self.flow.later or self.flow.read_paused or self._unreadable is not None
        return answered.response_complete and bool(answered.more_body or ahead)

    def _reset(self) -> None:
        with contextlib.suppress(OSError):
            fd = self.transport.get_extra_info("socket").fileno()
            # Without this the system would keep what is unsent, up to some megabytes, until the client reads it.
            with socket.socket(fileno=os.dup(fd)) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FORGET)
        self.transport.abort()
