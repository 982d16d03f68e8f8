"""Latency against rate: every server under the open loop, at more and more requests a second."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.serving.open_loop import OpenLoop, Phase, open_loop
from bench.serving.overload import saturate
from bench.serving.rounds import note
from bench.serving.server import OURS, running
from bench.serving.workload import Workload

_SHARES = (0.1, 0.2, 0.35, 0.5, 0.7, 0.85)  # of what ours answers at most
_KEPT_UP = 0.9  # share of the offered rate; a server that answers less is asked no faster
_WARM_UP_SECONDS = 1.0
_SEED = 20261122


@dataclass(frozen=True, slots=True)
class Sweep:
    """What each server did at the same rates, slowest first, up to the first that it could not bear."""

    saturation: float  # right answers a second of ours in the closed loop at 128 connections
    runs: dict[str, list[OpenLoop]]  # by server


def measure_sweep(workload: Workload, servers: Sequence[str], *, seconds: float) -> Sweep:
    """`seconds` for each rate. Every server is freshly started."""
    note("sweep: saturation of ours")
    with running(OURS, workload) as (server, _):
        saturation = saturate(server, workload, seconds)
    return Sweep(saturation, {name: sweep(name, workload, saturation, seconds) for name in servers})


def sweep(name: str, workload: Workload, saturation: float, seconds: float) -> list[OpenLoop]:
    note(f"sweep: {name}")
    runs = []
    with running(name, workload) as (server, _):
        saturate(server, workload, _WARM_UP_SECONDS)
        for number, share in enumerate(_SHARES):
            phase = Phase(f"{share:.0%} of our saturation", share * saturation, seconds)
            runs += open_loop(server, workload, [phase], seed=_SEED + number)
            if runs[-1].goodput < _KEPT_UP * runs[-1].offered:
                break
    return runs
