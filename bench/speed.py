"""How fast a loaded file is on this machine."""

import time
from collections.abc import Callable

from bench.engines import batch_of
from cifar_models.picture import Pixels

BATCH = 64  # images, as the server gathers them


def images_per_second(compute: Callable[[Pixels], object], seconds: float) -> float:
    """In batches of BATCH, once it is warm."""
    batch = batch_of(BATCH)
    compute(batch)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        compute(batch)
        count += BATCH
    return count / (time.perf_counter() - started)
