"""A closed loop of processes, one for each caller: a client that a fast device does not wait for.

Each caller asks, reads the whole answer, and asks again; what came back is checked when the time is over. The processes
are forked by one of their own (python -m bench.gpu.callers), which has loaded no torch and holds no device.
"""

import http.client
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError
from typing import NamedTuple

import numpy as np

from bench.serving.errors import WrongAnswer
from bench.serving.server import HOST, ROOT
from bench.serving.workload import Workload
from cifar_models.errors import InputError

_START_SECONDS = 30  # in which all callers must be there
_ANSWER_SECONDS = 60.0  # more than the server's own deadline: one that hangs must not keep a lent device
_TOLD = 200  # bytes of a refusal
_start: Barrier  # of this process and the other callers


@dataclass(frozen=True, slots=True)
class Calls:
    """What all callers together saw."""

    callers: int
    images: int  # of each request
    images_per_second: float  # rightly answered
    p50_ms: float  # of requests
    p99_ms: float
    refused: int


class Asked(NamedTuple):
    """What one caller saw."""

    latencies: list[float]  # of the answers with status 200, in seconds
    refused: int
    refusal: str  # the first one
    wrong: int
    seconds: float


def call(port: int, workload: Workload, *, callers: int, seconds: float) -> Calls:
    """Raises WrongAnswer, InputError when all were refused, and OSError when a connection breaks."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.gpu.callers"],
        input=pickle.dumps((port, workload, callers, seconds)),
        cwd=ROOT,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # no threads, so that it may fork
        capture_output=True,
    )
    if done.returncode:
        raise OSError(f"The callers ended with {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
    found: list[Asked] = [Asked(*one) for one in pickle.loads(done.stdout)]
    if wrong := sum(one.wrong for one in found):
        raise WrongAnswer(f"{wrong} answers to {callers} callers are wrong.")
    latencies, refused = np.concatenate([one.latencies for one in found]), sum(one.refused for one in found)
    if not len(latencies):
        raise InputError(f"All {refused} requests of {callers} callers were refused: {found[0].refusal}")
    return Calls(
        callers,
        workload.images,
        workload.images * sum(len(one.latencies) / one.seconds for one in found),
        1000 * float(np.quantile(latencies, 0.5)),
        1000 * float(np.quantile(latencies, 0.99)),
        refused,
    )


def main() -> None:
    port, workload, callers, seconds = pickle.loads(sys.stdin.buffer.read())
    forks = multiprocessing.get_context("fork")
    start = forks.Barrier(callers, timeout=_START_SECONDS)
    with ProcessPoolExecutor(callers, mp_context=forks, initializer=keep, initargs=(start,)) as pool:
        asked = [pool.submit(ask, port, workload, number, seconds) for number in range(callers)]
        # The error of one that could not begin comes before those of the others, who waited for it in vain.
        asked.sort(key=lambda one: isinstance(one.exception(), BrokenBarrierError))
        sys.stdout.buffer.write(pickle.dumps([tuple(one.result()) for one in asked]))


def keep(start: Barrier) -> None:
    """Give a new process what cannot be sent to it later."""
    global _start
    _start = start


def ask(port: int, workload: Workload, number: int, seconds: float) -> Asked:
    """One caller, from when all are there."""
    with closing(http.client.HTTPConnection(HOST, port, timeout=_ANSWER_SECONDS)) as connection:
        try:
            connection.connect()
        except OSError:
            _start.abort()
            raise
        return ask_on(connection, workload, number, seconds)


def ask_on(connection: http.client.HTTPConnection, workload: Workload, number: int, seconds: float) -> Asked:
    """What is right is looked at when the time is over."""
    headers = {"Content-Type": workload.content_type}
    latencies: list[float] = []
    answers: Counter[tuple[int, bytes]] = Counter()  # right answers repeat
    refused, refusal, index = 0, "", number % len(workload.bodies)
    _start.wait()
    began = time.monotonic()
    while (sent := time.monotonic()) - began < seconds:
        connection.request("POST", "/classify", workload.bodies[index], headers)
        response = connection.getresponse()
        body = response.read()
        if response.status == 200:
            latencies.append(time.monotonic() - sent)
            answers[index, body] += 1
        else:
            refused += 1
            refusal = refusal or f"{response.status} {body[:_TOLD].decode(errors='replace')}"
        index = (index + 1) % len(workload.bodies)
    elapsed = time.monotonic() - began
    wrong = sum(count for (index, body), count in answers.items() if not workload.is_right(index, body))
    return Asked(latencies, refused, refusal, wrong, elapsed)


if __name__ == "__main__":
    main()
