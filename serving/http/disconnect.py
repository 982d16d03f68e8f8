"""A client that goes away while its request waits: nobody should compute for it."""

import asyncio
from types import TracebackType

from starlette.requests import ClientDisconnect
from starlette.types import Receive

_PATIENCE = 0.02  # seconds


class CancelOnDisconnect:
    """Cancels the task inside, and raises ClientDisconnect, when the client goes. The body must have been read.

    Listening takes a task. Most answers are there before `_PATIENCE` is over, and these pay for a timer only; a client
    that goes sooner would hardly have saved the engine anything.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._gone = False
        self._listener: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        self._timer = self._loop.call_later(_PATIENCE, self._start)

    def _start(self) -> None:
        self._listener = self._loop.create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()
        if self._listener is not None:
            self._listener.cancel()
        task, self._task, self._listener = self._task, None, None  # a circle, left to the garbage collector otherwise
        # As asyncio.timeout does it: our own cancellation ends here, unless somebody else wants the task to end too.
        if self._gone and task is not None:
            ours_alone = task.uncancel() <= self._cancelling
            if ours_alone and kind is asyncio.CancelledError:
                raise ClientDisconnect from error
