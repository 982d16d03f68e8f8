"""Ctrl-C and SIGTERM as a request that the loop can honour between two steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Set by the first signal; a second one stops at once, as it would have without us."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def receive(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL)

    @property
    def exit_code(self) -> int:
        """As a shell reports a program that a signal ended."""
        return 128 + (self.signal or 0)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Catch SIGINT and SIGTERM for the length of the block."""
    request = StopRequest()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, request.receive) for number in signals}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
