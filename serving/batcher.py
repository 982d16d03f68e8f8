"""Many requests, one engine: gathers images into batches on an event loop. Knows neither HTTP nor pictures.

The policy, and why:

1. An idle engine gets what is there at once. Waiting for company would make a lone request slower and gain nothing:
   the engine was free anyway.
2. While the engine computes, arrivals gather; when it is done the next batch is what has come, up to `max_batch`
   images. So batches grow with the load by themselves, and there is no window to tune.
3. Everything is counted in images, not requests. A request larger than a batch is cut; the rest of it stays first.
4. First come, first served: an order that no load can starve.
5. At most `max_queue` images wait. What comes then is refused at once (QueueFull), while it has cost nothing.
6. A request whose deadline has passed, or whose caller has gone, is dropped before it is computed; a caller never
   waits longer than the deadline (DeadlinePassed).
7. If the engine raises, the batch is halved and tried again until only the guilty images fail (EngineFailed).
8. Waking up costs nothing while nothing happens: a batch starts from the arrival or the end that made it possible.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

import numpy as np

from cifar_models.bundle import Probabilities
from cifar_models.picture import Pixels
from serving.errors import DeadlinePassed, EngineFailed, NotReady, QueueFull

logger = logging.getLogger(__name__)

_TOO_LATE = "The answer was not ready before the deadline; try again later."


class Timings(Protocol):
    """Where the batcher writes what a request's time went to, in seconds."""

    queue: float | None  # until its first image went to the engine, or it was given up
    inference: float | None  # of the batches that held its images


class Observer(Protocol):
    """Is told what happens, on the event loop: whoever observes must be quick."""

    def queue(self, images: int, /) -> None:
        """So many images wait now."""

    def waited(self, seconds: float, /) -> None:
        """A request has left the queue."""

    def batch(self, images: int, seconds: float, /) -> None:
        """The engine has computed a batch."""


@dataclass(slots=True, eq=False)
class Job:
    """One request's images and what has come back for them."""

    images: Pixels
    deadline: float  # of the event loop's clock
    answer: asyncio.Future[Probabilities]
    timings: Timings | None = None
    arrived: float = field(default_factory=perf_counter)
    taken: int = 0  # images that were given to the engine
    parts: list[Probabilities] = field(default_factory=list)

    @property
    def waiting(self) -> int:
        return len(self.images) - self.taken


@dataclass(frozen=True, slots=True)
class Slice:
    """The images of one job in one batch."""

    job: Job
    images: Pixels


class Batcher:
    """Feeds `engine` from one thread of its own. All methods belong to the event loop that runs them."""

    def __init__(
        self,
        engine: Callable[[Pixels], Probabilities],
        *,
        max_batch: int,
        max_queue: int,
        observer: Observer | None = None,
    ) -> None:
        self._engine = engine
        self._observer = observer
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._queue: deque[Job] = deque()
        self._waiting = 0  # images in the queue
        self._batch: list[Slice] = []  # what the engine computes now
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._closed = False

    async def classify(self, images: Pixels, *, deadline: float, timings: Timings | None = None) -> Probabilities:
        """Probabilities float32 [n, classes] of images uint8 [n, 32, 32, 3]; fills `timings` in.

        Raises QueueFull, DeadlinePassed (`deadline` is a time of the loop's clock), EngineFailed, NotReady (closed).
        """
        if self._closed:
            raise NotReady("The server is stopping.")
        if self._waiting + len(images) > self._max_queue:
            raise QueueFull(f"{self._waiting} images wait already, at most {self._max_queue} may; try again later.")
        job = Job(images, deadline, asyncio.get_running_loop().create_future(), timings)
        self._queue.append(job)
        self._waiting += len(images)
        self._start()
        self._tell_queue()
        try:
            async with asyncio.timeout_at(deadline):
                return await job.answer
        except TimeoutError:
            raise DeadlinePassed(_TOO_LATE) from None
        finally:
            if not job.taken:
                self._leave(job)  # given up; also a wait, or the waits would look short when most are given up

    async def close(self) -> None:
        """Refuse new work, finish what was accepted, and stop the thread."""
        self._closed = True
        await asyncio.gather(*(job.answer for job in self._accepted()), return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)  # it may compute for somebody who has gone

    def _accepted(self) -> set[Job]:
        return {*self._queue, *(part.job for part in self._batch)}

    def _start(self) -> None:
        if self._batch:
            return
        self._batch = self._gather()
        if self._batch:
            images = [part.images for part in self._batch]
            done = asyncio.get_running_loop().run_in_executor(self._thread, self._time, images)
            done.add_done_callback(self._finish)

    def _gather(self) -> list[Slice]:
        """Take up to `max_batch` images from the front of the queue, dropping jobs that nobody waits for."""
        now = asyncio.get_running_loop().time()
        batch: list[Slice] = []
        room = self._max_batch
        while self._queue and room:
            job = self._queue[0]
            if job.answer.done() or job.deadline <= now:
                self._drop()
                continue
            if not job.taken:
                self._leave(job)
            count = min(room, job.waiting)
            batch.append(Slice(job, job.images[job.taken : job.taken + count]))
            job.taken += count
            self._waiting -= count
            room -= count
            if not job.waiting:
                self._queue.popleft()
        return batch

    def _drop(self) -> None:
        job = self._queue.popleft()
        self._waiting -= job.waiting
        if not job.answer.done():
            job.answer.set_exception(DeadlinePassed(_TOO_LATE))

    def _leave(self, job: Job) -> None:
        """Note how long a job was in the queue."""
        seconds = perf_counter() - job.arrived
        if job.timings is not None:
            job.timings.queue = seconds
        if self._observer is not None:
            self._observer.waited(seconds)

    def _time(self, images: list[Pixels]) -> tuple[list[Probabilities | Exception], float]:
        """In the engine's thread: what it computes, and the seconds that it takes."""
        start = perf_counter()
        return self._compute(images), perf_counter() - start

    def _compute(self, images: list[Pixels]) -> list[Probabilities | Exception]:
        """In the engine's thread: one result for each slice, an exception where the engine cannot compute it."""
        try:
            probabilities = self._engine(images[0] if len(images) == 1 else np.concatenate(images))
        except Exception as error:
            if len(images) == 1:
                logger.exception("The engine failed on %d images", len(images[0]))
                return [error]
            middle = len(images) // 2
            return self._compute(images[:middle]) + self._compute(images[middle:])
        return list(np.split(probabilities, np.cumsum([len(part) for part in images[:-1]])))

    def _finish(self, done: "asyncio.Future[tuple[list[Probabilities | Exception], float]]") -> None:
        batch, self._batch = self._batch, []
        self._start()  # before answering: the engine shall not wait for that
        results, seconds = done.result()
        for part, result in zip(batch, results, strict=True):
            self._answer(part.job, result)
        self._tell_batch(batch, seconds)
        self._tell_queue()

    def _tell_queue(self) -> None:
        if self._observer is not None:
            self._observer.queue(self._waiting)

    def _tell_batch(self, batch: list[Slice], seconds: float) -> None:
        for part in batch:
            if part.job.timings is not None:
                part.job.timings.inference = (part.job.timings.inference or 0.0) + seconds
        if self._observer is not None:
            self._observer.batch(sum(len(part.images) for part in batch), seconds)

    def _answer(self, job: Job, result: Probabilities | Exception) -> None:
        if job.answer.done():
            return
        if isinstance(result, Exception):
            job.answer.set_exception(EngineFailed("The engine could not compute this request."))
            return
        job.parts.append(result)
        if sum(map(len, job.parts)) == len(job.images):
            job.answer.set_result(job.parts[0] if len(job.parts) == 1 else np.concatenate(job.parts))
