"""A deadline of a connection, which is put off and given up more often than it comes."""

import asyncio
from collections.abc import Callable


class Alarm:
    """Calls what it was last set to do, unless it is stopped before its time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Also when its time has come: what it did ends the connection."""
        return self._handle is not None

    def set(self, seconds: float, do: Callable[[], None]) -> None:
        self.stop()
        self._handle = self._loop.call_later(seconds, do)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
