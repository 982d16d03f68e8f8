"""Our server under an open loop: at half of what it can do, and at twice that."""

from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, median

from bench.serving.open_loop import OpenLoop, Phase, open_loop
from bench.serving.rounds import note
from bench.serving.server import OURS, Memory, ServerProcess, running
from bench.serving.workload import Workload
from bench.serving.wrk import closed_loop

_SEED = 20261121
_AFTER = 2.0  # seconds for an overload to pass, and as many to see that it has
_CONNECTIONS = 128
# Turns, each beside a saturation of its own: a shared machine changes its pace in between.
_HALVES, _OVERLOADS = 5, 3


@dataclass(frozen=True, slots=True)
class HalfLoad:
    """Half of what the server could do just before."""

    saturation: float  # right answers a second in the closed loop at 128 connections
    run: OpenLoop


@dataclass(frozen=True, slots=True)
class Overload:
    """Twice what the server could do just before."""

    saturation: float  # as in HalfLoad, the mean of just before and just after
    run: OpenLoop
    after: list[OpenLoop]  # at half of it: while the overload passes, and then

    @property
    def share(self) -> float:
        """Of its saturation, what was answered right."""
        return self.run.goodput / self.saturation


@dataclass(frozen=True, slots=True)
class Open:
    """What a server does with requests that come whether or not it is ready for them."""

    half: list[HalfLoad]
    overload: list[Overload]
    memory: list[Memory]  # before the first overload, and after each

    @property
    def saturation(self) -> float:
        return median(turn.saturation for turn in self.half)


def measure_open(workload: Workload, *, seconds: float, overload_seconds: float) -> Open:
    """Of our server, freshly started. `seconds` for each turn at half load, `overload_seconds` for all at twice it."""
    with running(OURS, workload) as (server, _):
        half = []
        for turn in range(_HALVES):
            note(f"half of the saturation: turn {turn + 1} of {_HALVES}")
            saturation = saturate(server, workload, seconds / 2)
            (run,) = open_loop(server, workload, [Phase("half", saturation / 2, seconds)], seed=_SEED + turn)
            half.append(HalfLoad(saturation, run))
        memory, runs, saturations = [server.memory()], [], [saturate(server, workload, seconds / 2)]
        for turn in range(_OVERLOADS):
            note(f"twice the saturation: turn {turn + 1} of {_OVERLOADS}")
            phases = overload_phases(saturations[-1], overload_seconds / _OVERLOADS)
            runs.append(open_loop(server, workload, phases, seed=_SEED + _HALVES + turn))
            memory.append(server.memory())
            saturations.append(saturate(server, workload, seconds / 2))
    beside = [mean(pair) for pair in pairwise(saturations)]
    overload = [Overload(rate, run, after) for rate, (run, *after) in zip(beside, runs, strict=True)]
    return Open(half, overload, memory)


def saturate(server: ServerProcess, workload: Workload, seconds: float) -> float:
    """Right answers a second, of a crowd."""
    return closed_loop(server, workload, connections=_CONNECTIONS, seconds=seconds).rate


def overload_phases(saturation: float, seconds: float) -> list[Phase]:
    return [
        Phase("overload", saturation * 2, seconds),
        Phase(f"the {_AFTER:g} s after it", saturation / 2, _AFTER),
        Phase("after these", saturation / 2, _AFTER),
    ]
