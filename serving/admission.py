"""Whether there is room for another request: decided at the door, before it costs reading and decoding.

A server that is asked for more than it can do must spend its time on what it accepts: a request that will be refused
anyway is refused while it has cost nothing, and one that is accepted waits for a bounded time. So the images that were
let in and not yet answered, divided by the rate at which images are answered while there is a crowd, is the wait that
a new request would have; beyond `max_wait` it is turned away (Little 1961, L = λW).

The rate is that of the whole server, not of the engine: where decoding or the event loop is what limits, images queue
up there. It is measured only in a crowd, as otherwise it would be the rate of arrivals.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil

from serving.errors import QueueFull

_WINDOW = 0.1  # seconds of crowd that give one measurement
_WEIGHT = 0.3  # of the newest measurement in the running average


class Admission:
    """Counts images between the door and their answers. All methods belong to one event loop."""

    def __init__(self, *, crowd: int, max_images: int, max_wait: float, clock: Callable[[], float]) -> None:
        self._crowd = crowd  # images below which nobody is turned away
        self._max_images = max_images  # whatever the rate is
        self._max_wait = max_wait  # seconds
        self._clock = clock
        self._inside = 0  # images
        self._rate: float | None = None  # images a second, none before the first crowd
        self._answered = 0  # images of the present measurement
        self._since: float | None = None  # its start; none without a crowd

    @property
    def inside(self) -> int:
        """Images that were let in and are not answered."""
        return self._inside

    @property
    def wait(self) -> float:
        """Seconds that an image waits that comes now; 0 while that is not known."""
        return self._inside / self._rate if self._rate else 0.0

    def check(self) -> None:
        """Raises QueueFull when a request that comes now would wait too long."""
        if self._inside < self._crowd:
            return
        if self._inside >= self._max_images or self.wait > self._max_wait:
            seconds = max(1, ceil(self.wait - self._max_wait))
            raise QueueFull(
                f"{self._inside} images are waited for already, about {self.wait:.1f} s of work; try again later.",
                retry_after=seconds,
            )

    @contextmanager
    def let_in(self, images: int) -> Iterator[None]:
        """Count `images` as inside for the length of the block."""
        self._inside += images
        try:
            yield
        finally:
            self._inside -= images
            self._measure(images)

    def _measure(self, images: int) -> None:
        if self._inside < self._crowd:
            self._since = None
            return
        now = self._clock()
        if self._since is None:
            self._since, self._answered = now, 0
            return
        self._answered += images
        seconds = now - self._since
        if seconds >= _WINDOW:
            rate = self._answered / seconds
            self._rate = rate if self._rate is None else self._rate + _WEIGHT * (rate - self._rate)
            self._since, self._answered = now, 0
