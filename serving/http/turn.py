"""The request of a connection that is being answered: the ones after it wait for their turn."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class Turn:
    """Whose turn it is, if it is anyone's; uvicorn's `cycle` is the newest, which may have to wait for it."""

    __slots__ = ("cycle", "task")

    def __init__(self) -> None:
        self.cycle: RequestResponseCycle | None = None
        self.task: asyncio.Task[object] | None = None  # that answers it, once it has begun

    async def answer(self, app: Any, cycle: RequestResponseCycle, scope: Any, receive: Any, send: Any) -> None:
        """Until the client goes: nobody should compute for it. To wait for that, as ASGI has it, takes a task more."""
        self.task = asyncio.current_task()
        try:
            await app(scope, receive, partial(send_unasked, cycle) if cycle.waiting_for_100_continue else send)
        except asyncio.CancelledError:
            if not cycle.disconnected:
                raise

    def leave(self) -> None:
        """End it, whose client has gone; uvicorn tells the newest that it has."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.task is not None:
                self.task.cancel()
        self.cycle = None

    @property
    def in_body(self) -> RequestResponseCycle | None:
        """The request, if its body is still being read."""
        return self.cycle if self.cycle is not None and self.cycle.more_body else None


def send_unasked(cycle: RequestResponseCycle, message: Any) -> Awaitable[None]:
    """As uvicorn does, but end the connection of a client who asked leave to send its body and did not get it.

    Nobody knows whether it will send the body all the same (RFC 9110, section 10.1.1).
    """
    if cycle.waiting_for_100_continue and cycle.more_body:
        cycle.keep_alive = False
    return cycle.send(message)
