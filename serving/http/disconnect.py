"""A client that goes away while its request waits: nobody should compute for it."""

import asyncio
from types import TracebackType

from starlette.requests import ClientDisconnect

KEY = "cifar.disconnect"  # of an ASGI scope


class Disconnect:
    """Cancels the task inside the block, and raises ClientDisconnect, once the client has gone. One for a connection.

    The connection tells it. To ask for the next message of the request, as ASGI means it, takes a task for each.
    """

    def __init__(self) -> None:
        self._gone = False
        self._task: asyncio.Task[object] | None = None

    def happen(self) -> None:
        """More than once, too: the task inside is cancelled by the first."""
        if self._gone:
            return
        self._gone = True
        if self._task is not None:
            self._task.cancel()

    def __enter__(self) -> None:
        if self._gone:
            raise ClientDisconnect
        self._task = task = asyncio.current_task()
        self._cancelling = task.cancelling() if task else 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        task, self._task = self._task, None
        # As asyncio.timeout does it: our own cancellation ends here, unless somebody else wants the task to end too.
        if self._gone and task is not None:
            ours_alone = task.uncancel() <= self._cancelling
            if ours_alone and kind is asyncio.CancelledError:
                raise ClientDisconnect from error
