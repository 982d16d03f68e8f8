"""Whether there is room for another request: decided at the door, before it costs reading and decoding.

A server that is asked for more than it can do must spend its time on what it accepts: what it will refuse anyway is
refused while it has cost nothing, and what it accepts waits for a bounded time. The images that were let in and are not
answered, divided by the rate at which images are answered in a crowd, is the wait of one that comes now (Little 1961,
L = λW); beyond `max_wait` it is turned away.

The rate is that of the whole server, not of the engine: where decoding or the event loop is the limit, requests queue
up there. It is measured only in a crowd, as it would otherwise be the rate of arrivals.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.errors import QueueFull

# Requests. Whoever sends many images in each keeps as many on their way as the connections that it has, and would ask
# again at once: to turn it away costs more than to let it wait, for which the deadline is bound enough.
_FEW = 8
_WINDOW = 0.1  # seconds of crowd that give one measurement
_WEIGHT = 0.3  # of the newest measurement in the running average


class Admission:
    """Counts images between the door and their answers. All methods belong to one event loop."""

    def __init__(self, *, crowd: int, max_wait: float, clock: Callable[[], float]) -> None:
        self._crowd = crowd  # images below which nobody is turned away; nor is anybody before a few requests
        self._max_wait = max_wait  # seconds
        self._clock = clock
        self.visits = 0  # requests that were let in and are not answered
        self._inside = 0  # images
        self._rate = 0.0  # images a second; 0 before the first crowd
        self._answered = 0  # images of the present measurement
        self._since: float | None = None  # when it began; none without a crowd

    @property
    def wait(self) -> float:
        """Seconds that an image will take that comes now; 0 while that is not known."""
        return self._inside / self._rate if self._rate else 0.0

    @contextmanager
    def visit(self) -> Iterator[Callable[[int], None]]:
        """Let a request in for the length of the block. Raises QueueFull when it would wait too long.

        What it yields is told how many images the request has, as far as is known: none until they have arrived, for a
        client that does not send what it announced to keep nobody out.
        """
        if self.visits >= _FEW and self._inside >= self._crowd and self.wait > self._max_wait:
            raise QueueFull(
                f"The answer would take about {self.wait:.2g} s, as {self._inside} images come first; try again later.",
                seconds=self.wait - self._max_wait,
            )
        images = 0

        def arrived(known: int) -> None:
            nonlocal images
            self._inside += known - images
            images = known

        self.visits += 1
        try:
            yield arrived
        finally:
            self.visits -= 1
            self._inside -= images
            self._measure(images)  # of whoever left without an answer, too: they made room

    def _measure(self, images: int) -> None:
        if self._inside < self._crowd // 4:
            self._since = None
            return
        now = self._clock()
        if self._since is None:
            self._since, self._answered = now, 0
            return
        self._answered += images
        if now - self._since < _WINDOW:
            return
        rate = self._answered / (now - self._since)
        self._rate = self._rate + _WEIGHT * (rate - self._rate) if self._rate else rate
        self._since, self._answered = now, 0
