"""A batcher in a running event loop, in front of an engine that can be held and remembers what it computed."""

import asyncio
import threading
from collections.abc import Awaitable
from typing import Self

import numpy as np

from cifar_models.bundle import Probabilities
from cifar_models.picture import Pixels
from serving.batching.batcher import Batcher
from serving.engines.ways import Way

MAX_BATCH = 4
PATIENCE = 20  # seconds after which a wait counts as hung


def numbered(first: int, count: int) -> Pixels:
    """Images that carry their own number, in the three levels of their first pixel."""
    images = np.zeros((count, 32, 32, 3), np.uint8)
    numbers = np.arange(first, first + count)
    images[:, 0, 0] = np.stack([numbers // 65536, numbers // 256 % 256, numbers % 256], axis=1)
    return images


def numbers_of(images: Pixels | Probabilities) -> list[int]:
    levels = (images[:, 0, 0] if images.ndim == 4 else images).astype(int)
    return [int(number) for number in levels @ [65536, 256, 1]]


class Engine:
    """Answers each image with its number; fails on a poisoned one. It can be held, and remembers its batches."""

    def __init__(self, *, held: bool = False, poison: set[int] | None = None) -> None:
        self.batches: list[list[int]] = []
        self.started = threading.Event()
        self.released = threading.Event()
        self.poison = poison or set()
        if not held:
            self.released.set()

    lanes = 1
    processors = 1

    def __call__(self, *parts: Pixels) -> Probabilities:
        images = np.concatenate(parts)
        self.batches.append(numbers_of(images))
        self.started.set()
        assert self.released.wait(PATIENCE)
        if self.poison & set(self.batches[-1]):
            raise ValueError("poison")
        return images[:, 0, 0].astype(np.float32)

    def ways(self) -> list[Way]:
        return [Way(1, self)]

    @property
    def computed(self) -> list[int]:
        return [number for batch in self.batches for number in batch]


class Desk:
    """A batcher and the tasks of its callers, in a running event loop."""

    def __init__(self, engine: Engine, *, max_queue: int = 1000) -> None:
        self.engine = engine
        self.batcher = Batcher(engine, max_batch=MAX_BATCH, max_queue=max_queue)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.engine.released.set()
        await self.batcher.close()

    def ask(self, first: int, count: int = 1, seconds: float = PATIENCE) -> "asyncio.Task[Probabilities]":
        deadline = asyncio.get_running_loop().time() + seconds
        return asyncio.ensure_future(self.batcher.classify(numbered(first, count), deadline=deadline))

    async def hold(self) -> "asyncio.Task[Probabilities]":
        """Ask for image 0 and return when the engine computes it."""
        task = self.ask(0)
        assert await asyncio.to_thread(self.engine.started.wait, PATIENCE)
        return task


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


async def refusal(task: Awaitable[object]) -> Exception | None:
    (result,) = await asyncio.gather(task, return_exceptions=True)
    return result if isinstance(result, Exception) else None


async def numbers(*tasks: "asyncio.Task[Probabilities]") -> list[list[int]]:
    """The numbers of the images that each task's answer is of."""
    return [numbers_of(answer) for answer in await asyncio.gather(*tasks)]
