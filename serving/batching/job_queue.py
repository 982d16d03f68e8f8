"""Jobs that wait: first come, first served, counted in images. The event loop adds, the engine's threads take."""

import threading
from collections import deque
from collections.abc import Callable

from serving.batching.job import Batch, Job, Slice
from serving.batching.pace import Pace
from serving.errors import NotReady, QueueFull

_LEAST = 4  # images that a thread takes if they are there: the work around a batch is as much for one
SOON = 0.005  # seconds for which an image may wait for a busy processor while another one is idle
_SLACK = 0.8  # of a request's time may be planned for: what is measured errs by about the rest


class JobQueue:
    """A bounded queue of jobs that hands out batches. Thread-safe."""

    def __init__(self, *, max_batch: int, max_queue: int, processors: int, clock: Callable[[], float]) -> None:
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._processors = processors
        self._clock = clock
        self._changed = threading.Condition(threading.Lock())  # guards all that follows, and what it says of jobs
        self._jobs: deque[Job] = deque()  # those that have images waiting
        self._waiting = 0  # images of all of them
        self._idle = 0  # threads that wait for a batch; the last one, or none, while images wait
        self._assigned: deque[Batch] = deque()  # to threads that were idle
        self._computing = 0  # images taken and not finished
        self._in_flight: dict[Batch, float] = {}  # batches taken and not finished, and when they were taken
        self._closed = False
        self._pace = Pace()
        self._last_end = float("-inf")  # of a batch

    @property
    def waiting(self) -> int:
        """Images that wait."""
        return self._waiting

    @property
    def oldest(self) -> float:
        """Seconds since the oldest of these batches was taken; 0 when there is none."""
        with self._changed:
            return self._age()

    @property
    def is_to_look_again(self) -> bool:
        """Whether images wait that an idle processor may have left to a busy one."""
        return self._processors > 1 and self._waiting > 0

    def add(self, job: Job) -> None:
        """Let a job wait for its turn. Raises QueueFull, and NotReady once closed."""
        with self._changed:
            if self._closed:
                raise NotReady("The server is stopping.")
            self._check_room(job)
            self._check_time(job)
            self._jobs.append(job)
            self._waiting += job.waiting
            if not self._spares_the_last():
                self._assign()

    def look_again(self) -> None:
        """The processors that were to be done soon may not be: then the idle one computes what waits for them."""
        with self._changed:
            if not self._spares_the_last():
                self._assign()

    def _assign(self) -> None:
        """Give idle threads their batches: they may get their turns late, and would find more, and compute later."""
        sharers = self._processors
        while self._idle and (batch := self._form(idle=self._idle, sharers=sharers)):
            self._assigned.append(batch)
            self._idle -= 1
            sharers -= 1
            self._changed.notify()

    def _spares_the_last(self) -> bool:
        """Whether the last idle processor is left to the event loop: little waits, and the others are done soon.

        That is, with one image each. Beside more, or a slow network, an idle processor costs more than it gives.
        """
        busy = len(self._in_flight)
        if self._closed or not 0 < busy == self._processors - 1:
            return False
        soon = self._computing == busy and max(self._pace.expect(1), self._age()) < SOON
        return soon and self._waiting < _LEAST

    def _age(self) -> float:
        return self._clock() - min(self._in_flight.values(), default=self._clock())

    def _check_room(self, job: Job) -> None:
        excess = self._waiting + job.waiting - self._max_queue
        if excess > 0:
            raise QueueFull(
                f"{self._waiting} images wait already, at most {self._max_queue} may; try again later.",
                seconds=self._pace.expect(excess),
            )

    def _check_time(self, job: Job) -> None:
        if not self._in_flight and not self._waiting:
            return  # whatever was measured: were an idle engine not tried, a wrong measure would stay for ever
        images = self._waiting + self._computing + job.waiting
        expected, left = self._pace.expect(images), _SLACK * (job.deadline - job.arrived)
        if expected > left:
            raise QueueFull(
                f"The answer would take about {expected:.2g} s, as {images - job.waiting} images come first: "
                "too close to the deadline, or beyond it; try again later.",
                seconds=expected - left,
            )

    def take(self) -> Batch | None:
        """Up to `max_batch` images from the front; waits until there are some. None when closed and empty."""
        with self._changed:
            if not self._spares_the_last() and (batch := self._form(idle=1, sharers=self._processors)):
                return batch
            self._idle += 1
            self._changed.wait_for(lambda: self._assigned or self._closed)
            return self._assigned.popleft() if self._assigned else None

    def _form(self, *, idle: int, sharers: int) -> Batch | None:
        """A batch for one of `idle` threads: its share of what waits, as all `sharers` come for theirs.

        The idle ones come at once, and may leave it less than `_LEAST`; for the busy ones nothing so small is left.
        """
        fair = _divide(self._waiting, max(1, sharers))  # leaves the busy ones theirs
        floor = min(_LEAST, _divide(self._waiting, min(idle, self._processors)))  # less is not worth a batch's overhead
        slices = self._gather(max(1, min(max(fair, floor), self._max_batch)))
        if not slices:
            return None
        batch = Batch(slices)
        self._in_flight[batch] = self._clock()
        self._computing += batch.images
        return batch

    def _gather(self, room: int) -> list[Slice]:
        now = self._clock()
        slices: list[Slice] = []
        while self._jobs and room:
            job = self._jobs[0]
            if job.deadline <= now:
                self._forget(job)
            if job.waiting:
                slices.append(job.take(min(room, job.waiting)))
                room -= len(slices[-1].images)
                self._waiting -= len(slices[-1].images)
            if not job.waiting:
                self._jobs.popleft()
        return slices

    def withdraw(self, job: Job) -> None:
        """Compute no more of a job: its caller has gone, or has an answer."""
        with self._changed:
            if job.waiting:
                self._jobs.remove(job)  # with its images: nobody may come to take them for long
            self._forget(job)

    def _forget(self, job: Job) -> None:
        self._waiting -= job.waiting
        job.wanted = False

    def finish(self, batch: Batch) -> None:
        """Count a batch as done."""
        with self._changed:
            del self._in_flight[batch]
            self._computing -= batch.images
            if not batch.failures:
                # Where two batches overlap, each kept the engine for what the other did not; one that is counted after
                # another that ended later, for nothing.
                self._pace.note(batch.images, max(0.0, batch.ended - max(batch.started, self._last_end)))
            self._last_end = max(self._last_end, batch.ended)

    def close(self) -> None:
        """Refuse new jobs; `take` gives what is there, and then None."""
        with self._changed:
            self._closed = True
            self._assign()  # what the last one was spared
            self._changed.notify_all()


def _divide(images: int, threads: int) -> int:
    return -(-images // threads)  # rounded up
