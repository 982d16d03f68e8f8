"""What metrics, log and request ids cost, in microseconds: python -m bench.observing.

Each part runs alone, in a loop, best of several: what it adds to a request that computes is this or a little more, as
caches are shared. `prometheus_client`'s own histogram is measured beside ours, writing files for several processes.
"""

import asyncio
import os
import tempfile
import timeit
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

import numpy as np
from starlette.types import Message, Receive, Scope, Send

_NUMBER, _REPEATS = 1_000, 200  # short and often: something else may run meanwhile
_HEADERS = [(name, b"something") for name in (b"host", b"accept", b"user-agent", b"content-type", b"content-length")]


def measure(function: Callable[[], object], *, number: int = _NUMBER) -> float:
    """Microseconds of one call."""
    return min(timeit.repeat(function, number=number, repeat=_REPEATS)) / number * 1e6


def finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run what never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("it waited")


async def receive() -> Message:
    return {"type": "http.request"}


async def send(message: Message) -> None:
    """Send nothing."""


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """The smallest application."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # before prometheus_client is loaded, which looks at it once
        measure_all()


def measure_all() -> None:
    import prometheus_client

    from serving.batching.job import Batch, Job
    from serving.http.door import Door
    from serving.http.server import Server
    from serving.observing.log import line
    from serving.observing.metrics import FAMILIES, REQUEST
    from serving.observing.trace import KEY, Trace, trace_of
    from serving.settings import Settings

    theirs = prometheus_client.Histogram("theirs", "-", ["route"], buckets=REQUEST.bounds).labels("/classify")
    settings = Settings(log_sample=0)
    server = Server(settings)
    door = Door(answer, {"/classify"}, server, settings)
    ours = server.metrics.histogram(REQUEST, "/classify", "200").observe
    model = server.metrics.model({"name": "cifarnet", "version": "0", "engine": "-"})

    def request(app: Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]) -> None:
        scope = {"type": "http", "path": "/classify", "headers": _HEADERS, "client": ("127.0.0.1", 1)}
        finish(app(scope, receive, send))

    scope = {KEY: Trace()}
    image = np.zeros((1, 32, 32, 3), np.uint8)
    computed = Batch([Job(image, 0.0, 1.0, asyncio.new_event_loop().create_future()).take(1)], 0.1, 0.2)

    def mark() -> None:
        trace = trace_of(scope)
        trace_of(scope).received()
        trace.decoded(1)
        trace.queue = perf_counter() - trace.start

    def batch() -> None:
        model.batch(computed)
        model.classified(1)

    bare = measure(lambda: request(answer))
    rows = {
        "one observation, prometheus_client": measure(lambda: theirs.observe(0.01)),
        "one observation, ours": measure(lambda: ours(0.01)),
        "the door (id, trace, metrics, choice of the log), a request": measure(lambda: request(door)) - bare,
        "marks of the stages, a request": measure(mark),
        "the batcher's observer, a request that is a batch of its own": measure(batch),
        "a line of the log, before it is written": measure(lambda: line(Trace(), "127.0.0.1", "sample")),
        f"GET /metrics, {len(FAMILIES)} metrics": measure(server.metrics.render, number=5),
    }
    for name, microseconds in rows.items():
        print(f"| {name} | {microseconds:.2f} µs |")


if __name__ == "__main__":
    main()
