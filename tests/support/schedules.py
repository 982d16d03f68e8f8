"""A batcher whose engine, clock and callers are moved step by step: every interleaving can be had, none takes time."""

import asyncio
import os
import threading
import time
from dataclasses import dataclass, field

import numpy as np
from batching import MAX_BATCH, PATIENCE, numbered, numbers_of

from cifar_models.bundle import Probabilities
from cifar_models.picture import Pixels
from serving.batching.batcher import Batcher
from serving.engines.ways import Way

FEW = 4  # images that a core takes if they are there, and that the last idle one waits for


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time moves only when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__()

    def time(self) -> float:
        return self.now


@dataclass(eq=False)
class Call:
    """One call of the engine, which lasts until it is ended."""

    numbers: list[int]
    at: float
    ended: threading.Event = field(default_factory=threading.Event)
    broken: bool = False  # it fails whatever its images are
    succeeded: bool = False


class SteppedEngine:
    """Answers each image with its number when it is told to; fails on poisoned ones."""

    def __init__(self, clock: Clock, lanes: int, processors: int) -> None:
        self.lanes, self.processors = lanes, processors
        self.poison: set[int] = set()
        self.calls: list[Call] = []
        self.inside: list[Call] = []
        self.free = False  # to end every call at once
        self._clock = clock
        self._lock = threading.Lock()

    def __call__(self, *parts: Pixels) -> Probabilities:
        images = np.concatenate(parts)
        call = Call(numbers_of(images), self._clock.now)
        with self._lock:
            self.calls.append(call)
            self.inside.append(call)
            if self.free:
                self._end(call)
        assert call.ended.wait(PATIENCE)
        if call.broken or self.poison & set(call.numbers):
            raise ValueError("poison")
        call.succeeded = True
        return images[:, 0, 0].astype(np.float32)

    def ways(self) -> list[Way]:
        return [Way(1, self)]

    @property
    def computing(self) -> list[Call]:
        """The calls inside, in an order that does not depend on which thread was faster."""
        return sorted(self.inside, key=lambda call: call.numbers)

    def end(self, call: Call, *, broken: bool = False) -> None:
        with self._lock:
            call.broken = broken
            self._end(call)

    def _end(self, call: Call) -> None:
        self.inside.remove(call)
        call.ended.set()

    def end_all(self) -> None:
        """From now on calls do not wait."""
        with self._lock:
            self.free = True
            for call in list(self.inside):
                self._end(call)


@dataclass(eq=False)
class Request:
    """What a caller asked for, and what has become of it."""

    numbers: list[int]
    deadline: float
    task: "asyncio.Task[Probabilities]"
    calls_when_gone: int | None = None  # of the engine, when the caller went
    answered_at: float | None = None

    def outcome(self) -> list[int] | type[BaseException]:
        """The numbers of the images answered, or the kind of refusal."""
        if self.task.cancelled():
            return asyncio.CancelledError
        error = self.task.exception()
        return numbers_of(self.task.result()) if error is None else type(error)


class Stage:
    """Moves callers, engine and clock, and lets everything settle after each step."""

    def __init__(self, *, lanes: int, max_queue: int, processors: int = 1, max_batch: int = MAX_BATCH) -> None:
        self.clock = Clock()
        self.engine = SteppedEngine(self.clock, lanes, processors)
        self.max_queue = max_queue
        self.max_batch = max_batch
        self.batcher = Batcher(self.engine, max_batch=max_batch, max_queue=max_queue, clock=lambda: self.clock.now)
        self.requests: list[Request] = []
        self.lags: set[float] = set()  # times at which the event loop was late
        self._next = 0  # number of the next image

    def ask(self, count: int, seconds: float, *, poisoned: bool = False) -> Request:
        numbers = list(range(self._next, self._next + count))
        self._next += count
        if poisoned:
            self.engine.poison.add(numbers[count // 2])
        deadline = self.clock.now + seconds
        task = self.clock.create_task(self.batcher.classify(numbered(numbers[0], count), deadline=deadline))
        request = Request(numbers, deadline, task)
        task.add_done_callback(lambda _: setattr(request, "answered_at", self.clock.now))
        self.requests.append(request)
        self.settle()
        return request

    def end(self, call: Call, *, broken: bool = False) -> None:
        self.engine.end(call, broken=broken)
        self.settle()

    def lag(self, call: Call, seconds: float) -> None:
        """The event loop is busy: time passes, a call ends and the next one begins before the loop has its turn."""
        self.clock.now += seconds
        self.lags.add(self.clock.now)
        self.engine.end(call)
        limit = time.monotonic() + PATIENCE
        while not self._at_rest():
            assert time.monotonic() < limit, "the batcher hangs"
            os.sched_yield()
        self.settle()

    def leave(self, request: Request) -> None:
        request.task.cancel()
        self.clock.run_until_complete(asyncio.wait([request.task]))
        request.calls_when_gone = len(self.engine.calls)

    def advance(self, seconds: float) -> None:
        self.clock.now += seconds
        self.settle()

    def close(self) -> None:
        self.engine.end_all()
        self.clock.run_until_complete(self.batcher.close())
        self.settle()
        self.clock.run_until_complete(self.clock.shutdown_default_executor())
        self.clock.close()

    @property
    def pending(self) -> list[Request]:
        return [request for request in self.requests if not request.task.done()]

    def settle(self) -> None:
        """Until every lane computes or has nothing to do, and every answer has arrived."""
        self.clock.run_until_complete(self._settle())

    async def _settle(self) -> None:
        limit = time.monotonic() + PATIENCE
        for _ in range(5):
            await asyncio.sleep(0)
        while not self._at_rest():
            assert time.monotonic() < limit, "the batcher hangs"
            await asyncio.sleep(0)
        for _ in range(5):
            await asyncio.sleep(0)

    def _at_rest(self) -> bool:
        computing, queue = len(self.engine.inside), self.batcher._queue
        return computing == len(queue._in_flight) and computing + queue._idle == self.engine.lanes

    def engine_does_what_it_could(self) -> bool:
        """Every lane computes or nothing waits; where the others have one image each, the last core waits for a few."""
        idle = self.engine.lanes - len(self.engine.inside)
        spared = self.engine.processors > 1 and idle == 1 and all(len(call.numbers) == 1 for call in self.engine.inside)
        return idle == 0 or self.batcher.waiting < (FEW if spared else 1)
