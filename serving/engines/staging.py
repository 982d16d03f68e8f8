"""Where a batch is gathered before it goes to a device: arrays of a fixed place, lent to one batch at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, TypeVar

import numpy as np

from cifar_models.picture import Pixels

T = TypeVar("T")


class Slots(Generic[T]):
    """As many of a thing as there are lanes; a lane waits here when all are lent."""

    def __init__(self, slots: Sequence[T]) -> None:
        self._free: SimpleQueue[T] = SimpleQueue()
        for slot in slots:
            self._free.put(slot)

    @contextmanager
    def lend(self) -> Iterator[T]:
        slot = self._free.get()
        try:
            yield slot
        finally:
            self._free.put(slot)


def gather(parts: Sequence[Pixels]) -> Pixels:
    """All images in one array: the part itself if it is the only one."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def cut(images: Pixels, size: int) -> list[Pixels]:
    """The images in arrays of at most `size`."""
    return [images[start : start + size] for start in range(0, len(images), size)]


def gather_into(staging: Pixels, parts: Sequence[Pixels]) -> int:
    """Write all images to the front of `staging`; how many they are."""
    count = sum(map(len, parts))
    np.concatenate(parts, out=staging[:count])
    return count


def bucket(count: int, largest: int) -> int:
    """The size of batch that `count` images are padded to: the next power of two, or `largest`."""
    return min(1 << (count - 1).bit_length(), largest)


def buckets(largest: int) -> list[int]:
    """Every size that `bucket` gives."""
    return sorted({bucket(count, largest) for count in range(1, largest + 1)})
