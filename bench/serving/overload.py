"""Our server under an open loop: at half of what it can do, and at twice that."""

from dataclasses import dataclass

from bench.serving.open_loop import OpenLoop, Phase, open_loop
from bench.serving.server import OURS, Memory, ServerProcess, running
from bench.serving.workload import Workload
from bench.serving.wrk import closed_loop

_SEED = 20261121
_BESIDE = 2.0  # seconds before and after an overload
_CONNECTIONS = 128


@dataclass(frozen=True, slots=True)
class Open:
    """What a server does with requests that come whether or not it is ready for them."""

    saturation: float  # right answers a second in the closed loop at 128 connections
    half: OpenLoop  # at half of that
    overload: list[OpenLoop]  # before, at twice that, and right after it
    memory_before: Memory
    memory_after: Memory


def measure_open(workload: Workload, *, seconds: float, overload_seconds: float) -> Open:
    """Of our server, freshly started. `seconds` for the saturation and for the half of it."""
    with running(OURS, workload) as (server, _):
        saturation = closed_loop(server, workload, connections=_CONNECTIONS, seconds=seconds).rate
        (half,) = open_loop(server, workload, [Phase("half", saturation / 2, seconds)], seed=_SEED)
        before = server.memory()
        overload = overload_run(server, workload, saturation, overload_seconds)
        return Open(saturation, half, overload, before, server.memory())


def overload_run(server: ServerProcess, workload: Workload, saturation: float, seconds: float) -> list[OpenLoop]:
    """Twice the saturation for `seconds`, between two times of half of it."""
    phases = [
        Phase("before", saturation / 2, _BESIDE),
        Phase("overload", saturation * 2, seconds),
        Phase("after", saturation / 2, _BESIDE),
    ]
    return open_loop(server, workload, phases, seed=_SEED + 1)
