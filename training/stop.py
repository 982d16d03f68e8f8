"""Ctrl-C, SIGTERM and SIGHUP as a request that the loop can honour between two steps, all processes at the same one."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from training.world import World

_VOTE_SECONDS = 0.5  # between two votes: each makes the devices wait


class StopRequest:
    """Set by the first signal; a second one stops at once, as it would have without us, but for SIGHUP.

    Of that one a single closed terminal sends several: the shell does, and as it ends the system again.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def receive(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)

    @property
    def exit_code(self) -> int:
        """As a shell reports a program that a signal ended."""
        return 128 + (self.signal or 0)


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Catch SIGINT, SIGTERM and SIGHUP for the length of the block; under nohup, which ignores it, not SIGHUP."""
    request = StopRequest()
    signals = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.append(signal.SIGHUP)
    before = {number: signal.signal(number, request.receive) for number in signals}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopVote:
    """Whether one of the processes was asked to stop or has diverged, which all must learn at the same step.

    They vote, and agree in the same message on the number of steps until the next vote: about half a second of them.
    """

    def __init__(self, stop: StopRequest, world: World) -> None:
        self._stop = stop
        self._world = world
        self._steps = 1  # from the last vote to the next one
        self._left = 1  # of these
        self._voted = time.monotonic()

    def passes(self, has_diverged: bool) -> bool:
        """Called by every process after each of its steps, with whether it has seen a loss that is no number."""
        has_to_end = bool(self._stop) or has_diverged
        if self._world.size == 1:
            return has_to_end
        self._left -= 1
        if self._left:
            return False
        now = time.monotonic()
        pace = (now - self._voted) / self._steps
        asked, steps = self._world.means([has_to_end, _VOTE_SECONDS / pace])
        # No more than twice as many as before: one fast step must not put the next vote off for long.
        self._left = self._steps = max(1, min(round(steps), 2 * self._steps))
        self._voted = now
        return asked > 0
