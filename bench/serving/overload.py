"""Our server under an open loop: at half of what it can do, and at twice that."""

import threading
from dataclasses import dataclass
from statistics import median

from bench.serving.open_loop import OpenLoop, Phase, open_loop
from bench.serving.server import OURS, Memory, ServerProcess, running
from bench.serving.workload import Workload
from bench.serving.wrk import closed_loop

_SEED = 20261121
_BESIDE = 2.0  # seconds before an overload, for it to pass, and after that
_WARM_UP = 0.25  # of an overload: by then its connections have been made
_CONNECTIONS = 128
_TURNS = 5  # at half load, each beside its own saturation: a shared machine changes its pace in between


@dataclass(frozen=True, slots=True)
class HalfLoad:
    """Half of what the server could do just before."""

    saturation: float  # right answers a second in the closed loop at 128 connections
    run: OpenLoop


@dataclass(frozen=True, slots=True)
class Open:
    """What a server does with requests that come whether or not it is ready for them."""

    half: list[HalfLoad]
    saturation: float  # the median of these
    overload: list[OpenLoop]  # before, at twice that, while it passes, and after that
    memory_before: Memory
    memory_warm: Memory  # when the first quarter of the overload is over
    memory_after: Memory


def measure_open(workload: Workload, *, seconds: float, overload_seconds: float) -> Open:
    """Of our server, freshly started. `seconds` for each turn at half load, and half of that for the saturation."""
    with running(OURS, workload) as (server, _):
        half = [half_load(server, workload, seconds, _SEED + turn) for turn in range(_TURNS)]
        saturation = median(turn.saturation for turn in half)
        before = server.memory()
        warm: list[Memory] = []
        timer = threading.Timer(_BESIDE + _WARM_UP * overload_seconds, lambda: warm.append(server.memory()))
        timer.start()
        overload = overload_run(server, workload, saturation, overload_seconds)
        timer.join()
        return Open(half, saturation, overload, before, warm[0], server.memory())


def half_load(server: ServerProcess, workload: Workload, seconds: float, seed: int) -> HalfLoad:
    saturation = closed_loop(server, workload, connections=_CONNECTIONS, seconds=seconds / 2).rate
    (run,) = open_loop(server, workload, [Phase("half", saturation / 2, seconds)], seed=seed)
    return HalfLoad(saturation, run)


def overload_run(server: ServerProcess, workload: Workload, saturation: float, seconds: float) -> list[OpenLoop]:
    """Twice the saturation for `seconds`, before and after half of it."""
    phases = [
        Phase("before", saturation / 2, _BESIDE),
        Phase("overload", saturation * 2, seconds),
        Phase(f"the {_BESIDE:.0f} s after it", saturation / 2, _BESIDE),
        Phase("after these", saturation / 2, _BESIDE),
    ]
    return open_loop(server, workload, phases, seed=_SEED + _TURNS)
