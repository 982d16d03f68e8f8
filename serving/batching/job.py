"""One request's images, and the batches that they are computed in."""

import asyncio
import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from cifar_models.bundle import Probabilities
from cifar_models.picture import Pixels


class Timings(Protocol):
    """Where a caller wants to read what its request's time went to, in seconds."""

    queue: float | None  # until its first image went to the engine
    inference: float | None  # from there until its last one came back
    batch: int | None  # images in the largest of them


@dataclass(slots=True, eq=False)
class Job:
    """One request's images and what has come back for them."""

    images: Pixels  # uint8 [n, 32, 32, 3], n >= 1
    arrived: float  # of the batcher's clock, as all times here
    deadline: float
    answer: asyncio.Future[Probabilities]  # touched by the event loop alone
    timings: Timings | None = None
    taken: int = 0  # images that were given to the engine
    wanted: bool = True  # somebody waits for the answer
    blamed: bool = False  # a batch of its images failed as a whole
    answered: int = 0  # images whose probabilities are in `rows`
    rows: Probabilities | None = None
    started: float = math.inf  # of the first batch that held its images, among those that are done
    ended: float = -math.inf  # of the last one

    @property
    def waiting(self) -> int:
        """Images that nobody has computed yet, and somebody should."""
        return len(self.images) - self.taken if self.wanted else 0

    def take(self, count: int) -> "Slice":
        """The next `count` images."""
        part = Slice(self, self.taken, self.images[self.taken : self.taken + count])
        self.taken += count
        return part

    def put(self, start: int, rows: Probabilities) -> Probabilities | None:
        """Keep the probabilities of the images from `start`; those of all images once there is none missing."""
        if len(rows) == len(self.images):
            return rows
        if self.rows is None:
            self.rows = np.empty((len(self.images), rows.shape[1]), np.float32)
        self.rows[start : start + len(rows)] = rows
        self.answered += len(rows)
        return self.rows if self.answered == len(self.images) else None


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """The images of one job in one batch; `start` is the number of the first one in the job."""

    job: Job
    start: int
    images: Pixels


@dataclass(slots=True, eq=False)
class Batch:
    """What an engine computes at once, and, when it is done, what came of it: the record that observers get."""

    slices: list[Slice]
    started: float = 0.0
    ended: float = 0.0
    results: list[Probabilities | Exception] = field(default_factory=list)  # one for each slice

    @property
    def images(self) -> int:
        return sum(len(part.images) for part in self.slices)

    @property
    def seconds(self) -> float:
        return self.ended - self.started

    @property
    def waits(self) -> list[float]:
        """Seconds in the queue of each job whose first images these are."""
        return [self.started - part.job.arrived for part in self.slices if part.start == 0]

    @property
    def failures(self) -> int:
        """Slices that the engine could not compute."""
        return sum(isinstance(result, Exception) for result in self.results)

    @property
    def failed(self) -> bool:
        """Not a single image came out."""
        return self.failures == len(self.slices)
