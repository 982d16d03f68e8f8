"""The open loop's client: sends each request at its moment, gives up on what is late, checks what comes back."""

import asyncio
import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from bench.serving.connection import LOST, Answer, Connection
from bench.serving.errors import WrongAnswer
from bench.serving.server import HOST
from bench.serving.workload import Workload

Seconds = npt.NDArray[np.float64]

TIMED_OUT, UNSENT = -1, -2  # beside LOST, instead of a status

_PATIENCE = 10.0  # seconds from the scheduled moment after which the client closes the connection; our deadline is 5
_LOOK_SECONDS = 0.1  # between two looks for such
_MAX_CONNECTIONS = 8192  # at the same time; what would need more stays unsent: the client must not queue


@dataclass(slots=True, eq=False)
class Exchange:
    """The requests of a schedule, on their way and answered. Moments are seconds from the start."""

    workload: Workload
    port: int
    scheduled: Seconds
    released: Seconds = field(init=False)  # when the client was ready to send
    answered: Seconds = field(init=False)
    status: npt.NDArray[np.int64] = field(init=False)
    without_retry_after: set[int] = field(default_factory=set)  # indices of requests
    asked_again: set[int] = field(default_factory=set)

    _bodies: Counter[tuple[int, bytes]] = field(default_factory=Counter)  # right answers repeat to the byte
    _requests: list[bytes] = field(default_factory=list)
    _idle: dict[Connection, None] = field(default_factory=dict)  # the last one is used first
    _busy: dict[Connection, None] = field(default_factory=dict)  # the first one is asked longest
    _waiting: deque[int] = field(default_factory=deque)  # for a connection that is being made
    _connecting: set["asyncio.Task[None]"] = field(default_factory=set)
    _missing: int = 0
    _all: asyncio.Event = field(default_factory=asyncio.Event)
    _start: float = 0.0

    def __post_init__(self) -> None:
        count = len(self.scheduled)
        self.released = np.full(count, np.nan)
        self.answered = np.full(count, np.nan)
        self.status = np.full(count, UNSENT)
        head = f"POST /classify HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {self.workload.content_type}\r\n"
        self._requests = [
            head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body for body in self.workload.bodies
        ]
        self._missing = count

    async def run(self) -> None:
        """Send all, and wait until each is answered or given up."""
        loop = asyncio.get_running_loop()
        self._start = time.perf_counter()
        clock = threading.Thread(target=self._release, args=(loop.call_soon_threadsafe,))
        clock.start()
        while self._missing:
            self._give_up()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all.wait(), _LOOK_SECONDS)
        clock.join()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in self._idle:
            connection.close()

    def _release(self, call: Callable[..., object]) -> None:
        # In a thread, because event loops wake up to a millisecond late, and a thread's sleep does not.
        for index, moment in enumerate(self.scheduled.tolist()):
            delay = moment - self._now()
            if delay > 0:
                time.sleep(delay)
            call(self._send, index)

    def _now(self) -> float:
        return time.perf_counter() - self._start

    def _send(self, index: int) -> None:
        self.released[index] = self._now()
        self._dispatch(index)

    def _dispatch(self, index: int) -> None:
        if self._idle:
            connection, _ = self._idle.popitem()
            self._give(connection, index)
        else:
            self._dispatch_anew(index)

    def _dispatch_anew(self, index: int) -> None:
        """Over a connection that is made for it, or one that becomes free before."""
        if len(self._busy) + len(self._connecting) < _MAX_CONNECTIONS:
            self._waiting.append(index)
            task = asyncio.ensure_future(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        else:
            self._finish(index, UNSENT)

    def _give(self, connection: Connection, index: int) -> None:
        self._busy[connection] = None
        connection.send(index, self._requests[index % len(self._requests)])

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._receive, self._forget), HOST, self.port
            )
        except OSError:
            if self._waiting:
                self._finish(self._waiting.popleft(), LOST)
        else:
            self._use(connection)

    def _use(self, connection: Connection) -> None:
        if self._waiting:
            self._give(connection, self._waiting.popleft())
        else:
            self._idle[connection] = None

    def _forget(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    def _receive(self, connection: Connection, index: int, answer: Answer) -> None:
        self._busy.pop(connection)
        if answer.status != LOST:
            self._use(connection)
        elif connection.answers and not answer.head and index not in self.asked_again:
            self.asked_again.add(index)  # it was kept open, and closed just before: every client asks again
            self._dispatch_anew(index)
            return
        if answer.status == 200:
            self._bodies[index % len(self._requests), answer.body] += 1
        elif answer.status in (429, 503) and b"\r\nretry-after:" not in answer.head:
            self.without_retry_after.add(index)
        self._finish(index, answer.status)

    def _give_up(self) -> None:
        """Close the connections of the requests that have waited too long."""
        latest = self._now() - _PATIENCE
        while self._waiting and self.scheduled[self._waiting[0]] < latest:
            self._finish(self._waiting.popleft(), TIMED_OUT)
        for connection in [one for one in self._busy if self.scheduled[one.request] < latest]:
            self._busy.pop(connection)
            self._finish(connection.request, TIMED_OUT)
            connection.close()

    def _finish(self, index: int, status: int) -> None:
        self.answered[index] = self._now()
        self.status[index] = status
        self._missing -= 1
        if self._missing == 0:
            self._all.set()

    def check(self) -> None:
        """Raises WrongAnswer. Each answer is compared with that of the request on its own connection."""
        wrong = sum(count for (index, body), count in self._bodies.items() if not self.workload.is_right(index, body))
        if wrong:
            raise WrongAnswer(f"{wrong} of {self._bodies.total()} answers of the open loop are wrong.")
