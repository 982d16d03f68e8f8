"""How many lines a log gets: a few of each kind, and the count of those that were left out."""

import logging
from collections import defaultdict
from collections.abc import Callable
from time import monotonic

RATE = 5.0  # lines a second for each kind
BURST = 20  # lines of a kind at once


class Bucket:
    """Tokens that come at a steady rate; counts who went without one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens = float(BURST)
        self._filled = clock()
        self._suppressed = 0

    def take(self) -> int | None:
        """None if there is no token; else how many have gone without since the last one was taken."""
        now = self._clock()
        self._tokens = min(BURST, self._tokens + (now - self._filled) * RATE)
        self._filled = now
        if self._tokens < 1:
            self._suppressed += 1
            return None
        self._tokens -= 1
        suppressed, self._suppressed = self._suppressed, 0
        return suppressed


class FloodFilter(logging.Filter):
    """Keeps a place in the code from filling the log: an engine that fails logs a traceback for every request."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._buckets: dict[tuple[str, int], Bucket] = defaultdict(lambda: Bucket(clock))  # places are few

    def filter(self, record: logging.LogRecord) -> bool:
        suppressed = self._buckets[record.pathname, record.lineno].take()
        if suppressed:
            record.msg, record.args = f"{record.getMessage()} (and {suppressed} more such lines before)", ()
        return suppressed is not None
