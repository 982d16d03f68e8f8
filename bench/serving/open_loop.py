"""The open loop: requests leave on a schedule, whether or not the answers come.

A closed loop asks less while the server is slow, and so hides the waiting (coordinated omission). Here a latency counts
from the moment for which the request was scheduled.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import uvloop

from bench.serving.connection import LOST
from bench.serving.exchange import TIMED_OUT, UNSENT, Exchange, Seconds
from bench.serving.server import ServerProcess
from bench.serving.workload import Workload

_NAMES = {LOST: "lost", TIMED_OUT: "timed out", UNSENT: "unsent"}


@dataclass(frozen=True, slots=True)
class Phase:
    """So many requests a second, for so many seconds."""

    name: str
    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class OpenLoop:
    """What became of the requests that were scheduled in one phase. Latencies are of the answers with status 200."""

    phase: str
    offered: float  # requests a second
    goodput: float  # right answers that came during the phase, a second
    p50_ms: float | None  # None: no such answer
    p99_ms: float | None
    statuses: dict[str, int]  # "lost": the connection failed; "timed out": none in 10 s; "unsent": 8,192 were waiting
    without_retry_after: int  # answers 429 and 503 that do not say when to come again
    late_p99_ms: float | None  # how much later than scheduled the client itself was ready to send
    asked_again: int = 0  # requests with which a kept-open connection ended, without a byte of an answer


def poisson_schedule(phases: Sequence[Phase], seed: int) -> list[Seconds]:
    """For each phase the moments of its requests, in seconds from the start of the first: a Poisson process."""
    generator = np.random.default_rng(seed)
    starts = np.cumsum([0.0, *(phase.seconds for phase in phases)])
    moments = []
    for phase, start in zip(phases, starts, strict=False):
        count = generator.poisson(phase.rate * phase.seconds)
        moments.append(start + np.sort(generator.uniform(0, phase.seconds, count)))
    return moments


def open_loop(server: ServerProcess, workload: Workload, phases: Sequence[Phase], *, seed: int) -> list[OpenLoop]:
    """Send each phase's requests at its rate, and see what comes back. Raises WrongAnswer."""
    moments = poisson_schedule(phases, seed)
    exchange = Exchange(workload, server.port, np.concatenate(moments))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(exchange.run())
    server.check_alive()
    exchange.check()
    ends = np.cumsum([len(part) for part in moments])
    starts = np.cumsum([0.0, *(phase.seconds for phase in phases)])
    return [
        summarise(exchange, phase, slice(end - len(part), end), start)
        for phase, part, end, start in zip(phases, moments, ends, starts, strict=False)
    ]


def summarise(exchange: Exchange, phase: Phase, requests: slice, start: float) -> OpenLoop:
    """Of the requests of a phase that began at `start`."""
    scheduled, status = exchange.scheduled[requests], exchange.status[requests]
    latency = (exchange.answered[requests] - scheduled)[status == 200]
    during = (exchange.answered >= start) & (exchange.answered < start + phase.seconds) & (exchange.status == 200)
    counts = Counter(_NAMES.get(code, str(code)) for code in status.tolist())
    numbers = set(range(requests.start, requests.stop))
    return OpenLoop(
        phase.name,
        len(status) / phase.seconds,
        float(during.sum()) / phase.seconds,
        milliseconds(latency, 0.5),
        milliseconds(latency, 0.99),
        dict(sorted(counts.items())),
        len(exchange.without_retry_after & numbers),
        milliseconds(exchange.released[requests] - scheduled, 0.99),
        len(exchange.asked_again & numbers),
    )


def milliseconds(seconds: Seconds, quantile: float) -> float | None:
    return 1000 * float(np.quantile(seconds, quantile)) if len(seconds) else None
