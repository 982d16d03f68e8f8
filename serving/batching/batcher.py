"""Many requests, one engine: gathers images into batches. Knows neither HTTP nor pictures.

The policy, and why:

1. An idle engine gets what is there at once. Waiting for company would make a lone request slower and gain nothing:
   the engine was free anyway.
2. While the engine computes, arrivals gather; when it is done the next batch is what has come, or a core's share of it
   (9), up to `max_batch` images. So batches grow with the load by themselves, and there is no window to tune.
3. The engine's own thread takes the next batch, and hands the answers of a batch back in one call. The event loop may
   be busy with hundreds of requests meanwhile; the engine does not wait until its turn comes round.
4. Everything is counted in images, not requests. A request larger than a batch is cut; the rest of it stays first.
5. First come, first served: an order that no load can starve.
6. What cannot be ready in time is refused before it is queued (QueueFull), while it has cost the engine nothing: more
   than `max_queue` images would need memory, and more than the engine computes before the deadline would wait in vain.
   The engine's pace is that of its last few batches; an idle engine always tries, so that a wrong measure cannot last.
   The refusal says in how many seconds there will be room.
7. A request whose deadline has passed, or whose caller has gone, leaves the queue at once and is not computed; a caller
   never waits longer than the deadline (DeadlinePassed). What is being computed is finished: it cannot be stopped.
8. If the engine raises, or answers anything but one finite row an image, the batch is halved and tried again until only
   the guilty requests fail (EngineFailed).
9. An engine gets as many batches at once as it has `lanes`, each by the rules above. On a GPU there are two, of which
   one is gathered while the other computes, and by TorchScript copied as well; on the CPU there is one for each core.
   Cores (`processors`) share what waits: one that is done takes its share, or a few images if that is less, and leaves
   the others theirs. If it took all, its answers would come late and at once, and who is done next would wait for what
   the event loop decodes. The last idle core is left to the event loop, which feeds them all, while the others compute
   an image each, until a few more wait.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from cifar_models.bundle import Probabilities
from cifar_models.picture import Pixels
from serving.batching.job import Batch, Job, Slice, Timings
from serving.batching.job_queue import SOON, JobQueue
from serving.batching.niceness import let_the_event_loop_go_first
from serving.engines.registry import Engine
from serving.errors import DeadlinePassed, EngineFailed, Refusal

logger = logging.getLogger(__name__)

_TOO_LATE = "The answer was not ready before the deadline; try again later."

Observer = Callable[[Batch], None]


class Batcher:
    """Feeds `engine` from threads of its own, as many as it has lanes.

    `observers` are called on the event loop with each batch that is done. `clock` is that of the event loop.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_batch: int,
        max_queue: int,
        observers: Sequence[Observer] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._observers = tuple(observers)
        self._clock = clock
        self._queue = JobQueue(max_batch=max_batch, max_queue=max_queue, processors=engine.processors, clock=clock)
        self._looks_again = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"engine-{lane}", daemon=True) for lane in range(engine.lanes)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Images that wait."""
        return self._queue.waiting

    @property
    def oldest(self) -> float:
        """Seconds that the engine has had the oldest of these batches; 0 when there is none."""
        return self._queue.oldest

    async def classify(self, images: Pixels, *, deadline: float, timings: Timings | None = None) -> Probabilities:
        """Probabilities float32 [n, classes] of images uint8 [n, 32, 32, 3], n >= 1; fills `timings` in.

        Raises QueueFull, DeadlinePassed (`deadline` is a time of the loop's clock), EngineFailed, NotReady (closed).
        """
        now = self._clock()
        if deadline <= now:
            raise DeadlinePassed(_TOO_LATE)
        loop = asyncio.get_running_loop()
        job = Job(images, now, deadline, loop.create_future(), timings)
        self._queue.add(job)
        if not self._looks_again:
            self._look_again_soon(loop)
        timer = loop.call_at(deadline, _give_up, job)
        try:
            return await job.answer
        finally:
            timer.cancel()
            self._queue.withdraw(job)  # whatever ended the wait
            del job  # what was raised holds this frame, and would hold itself, with the images, through the answer

    def _look_again_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        self._looks_again = self._queue.is_to_look_again
        if self._looks_again:
            loop.call_later(SOON, self._look_again, loop)

    def _look_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._queue.look_again()
        self._look_again_soon(loop)

    async def close(self, timeout: float | None = None) -> None:
        """Refuse new work, finish what was accepted, and stop the threads; leave one that takes longer than `timeout`.

        A thread that an engine never gives back cannot be stopped; it ends with the process.
        """
        self._queue.close()
        await asyncio.gather(*(asyncio.to_thread(thread.join, timeout) for thread in self._threads))

    def _serve(self) -> None:
        """A lane: in a thread of its own, one batch after the other until the queue is closed."""
        let_the_event_loop_go_first()
        while batch := self._queue.take():
            batch.started = self._clock()
            batch.results = self._compute(batch.slices)
            batch.ended = self._clock()
            try:
                batch.slices[0].job.answer.get_loop().call_soon_threadsafe(self._deliver, batch)
            except RuntimeError:  # the event loop is closed: nobody is left to answer
                logger.debug("A batch came too late for its event loop")
            self._queue.finish(batch)
            del batch  # its pixels would stay in memory until the next one comes

    def _compute(self, slices: list[Slice]) -> list[Probabilities | Exception]:
        """One result for each slice, an exception where the engine cannot compute it."""
        try:
            probabilities = self._engine(*[part.images for part in slices])
            _check_rows(probabilities, sum(len(part.images) for part in slices))
        except Exception as error:
            return self._isolate(slices, error)
        return _split(probabilities, slices)

    def _isolate(self, slices: list[Slice], error: Exception) -> list[Probabilities | Exception]:
        if len(slices) == 1:
            logger.error("The engine failed on %d images", len(slices[0].images), exc_info=error)
            self._queue.withdraw(slices[0].job)
            return [error]
        middle = len(slices) // 2
        return self._retry(slices[:middle]) + self._retry(slices[middle:])

    def _retry(self, slices: list[Slice]) -> list[Probabilities | Exception]:
        """Compute again what somebody still waits for."""
        now = self._clock()
        wanted = [part for part in slices if part.job.wanted and part.job.deadline > now]
        results = dict(zip(wanted, self._compute(wanted), strict=True)) if wanted else {}
        return [results.get(part, DeadlinePassed(_TOO_LATE)) for part in slices]

    def _deliver(self, batch: Batch) -> None:
        for part, result in zip(batch.slices, batch.results, strict=True):
            _note(part, batch)
            _answer(part, result)
        for observe in self._observers:
            observe(batch)


def _give_up(job: Job) -> None:
    if not job.answer.done():
        job.answer.set_exception(DeadlinePassed(_TOO_LATE))


def _note(part: Slice, batch: Batch) -> None:
    job, timings = part.job, part.job.timings
    if timings is None:
        return
    job.started = min(job.started, batch.started)
    job.ended = max(job.ended, batch.ended)
    timings.queue = job.started - job.arrived
    timings.inference = job.ended - job.started
    timings.batch = max(timings.batch or 0, batch.images)


def _answer(part: Slice, result: Probabilities | Exception) -> None:
    job = part.job
    if job.answer.done():
        return
    if isinstance(result, Refusal):
        job.answer.set_exception(result)
    elif isinstance(result, Exception):
        job.answer.set_exception(EngineFailed("The engine could not compute this request."))
    elif (rows := job.put(part.start, result)) is not None:
        job.answer.set_result(rows)


def _check_rows(probabilities: Probabilities, images: int) -> None:
    if len(probabilities) != images:
        raise ValueError(f"The engine gave {len(probabilities)} rows for {images} images.")
    if not np.isfinite(probabilities).all():
        raise ValueError("The engine gave probabilities that are no numbers.")


def _split(probabilities: Probabilities, slices: list[Slice]) -> list[Probabilities | Exception]:
    rows: list[Probabilities | Exception] = []
    start = 0
    for part in slices:
        rows.append(probabilities[start : start + len(part.images)])
        start += len(part.images)
    return rows
