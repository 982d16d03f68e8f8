"""Rounds: in each, every server in short turns, so that what else the machine does hits all alike.

All are started, and those whose turn it is not are paused. What shares this machine may slow it down by half for a
minute, so that turns must be shorter than that, and only those that follow each other can be compared.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from bench.serving.engine import engine_rates
from bench.serving.server import OURS, ServerProcess, Startup, running
from bench.serving.workload import Workload
from bench.serving.wrk import ClosedLoop, closed_loop

T = TypeVar("T")

PARTS = ("engine", "startup", "closed", "bulk", "open", "sweep")
CONNECTIONS = (1, 8, 32, 128)
_BULK_CONNECTIONS = 4
_WARM_UP = 1.0  # seconds
_TURN = 2.0  # seconds, or a little more or less, to make whole turns


@dataclass(frozen=True, slots=True)
class Round:
    """What was measured in one round; what was not asked for is empty."""

    engine: list[dict[int, float]]  # turn after turn, images a second by images of a batch
    startup: dict[str, Startup]  # by server
    closed: dict[str, list[ClosedLoop]]  # by server, turn after turn of each of CONNECTIONS
    bulk: list[ClosedLoop] = field(default_factory=list)  # of raw pixels, ours only, each turn before one of the engine

    def turns(self, server: str, connections: int) -> list[ClosedLoop]:
        """In their order; none of a server that was not asked."""
        return [turn for turn in self.closed.get(server, []) if turn.connections == connections]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a round measures."""

    pictures: Workload
    batches: Workload
    parts: Sequence[str]
    servers: Sequence[str]
    seconds: float  # of each point

    def run(self, number: int) -> Round:
        """Round `number`, from 0; each begins with another server."""
        result, servers = Round([], {}, {}), dict[str, ServerProcess]()
        note(f"round {number + 1}")
        if "startup" in self.parts:
            for name in rotated(self.servers, number):  # alone, or they would share their libraries
                with running(name, self.pictures) as (_, result.startup[name]):
                    pass
        with ExitStack() as stack:
            for name in rotated(self.servers, number):
                if self._asks(name):
                    servers[name], _ = stack.enter_context(running(name, self.pictures))
                    servers[name].pause()
            result.closed.update(self._closed(servers))
            for turn in range(self._turns):
                note(f"turn {turn + 1} of {self._turns}, the engine alone")
                if "bulk" in self.parts and OURS in servers:
                    result.bulk.append(ask(servers[OURS], self.batches, _BULK_CONNECTIONS, self._turn))
                if "engine" in self.parts:
                    result.engine.append(engine_rates(self._turn / 2))
        return result

    @property
    def _turns(self) -> int:
        return max(1, round(self.seconds / _TURN))

    @property
    def _turn(self) -> float:
        return self.seconds / self._turns

    def _asks(self, name: str) -> bool:
        return "closed" in self.parts or (name == OURS and "bulk" in self.parts)

    def _closed(self, servers: dict[str, ServerProcess]) -> dict[str, list[ClosedLoop]]:
        if "closed" not in self.parts:
            return {}
        found: dict[str, list[ClosedLoop]] = {name: [] for name in servers}
        # Few connections first, and each number warm: after a crowd BentoML lets a lone request wait for long.
        for connections in CONNECTIONS:
            for server in servers.values():
                ask(server, self.pictures, connections, _WARM_UP)
            for turn in range(self._turns):
                note(f"turn {turn + 1} of {self._turns}, {connections} connections")
                for name in rotated(list(servers), turn):
                    found[name].append(ask(servers[name], self.pictures, connections, self._turn))
        return found


def ask(server: ServerProcess, workload: Workload, connections: int, seconds: float) -> ClosedLoop:
    """A turn of a server that is paused before and after it."""
    server.resume()
    run = closed_loop(server, workload, connections=connections, seconds=seconds)
    server.pause()
    return run


def rotated(those: Sequence[T], number: int) -> list[T]:
    """Another one is first for each number."""
    first = number % max(1, len(those))
    return [*those[first:], *those[:first]]


def all_turns(rounds: Sequence[Round], server: str, connections: int) -> list[ClosedLoop]:
    return [turn for round_ in rounds for turn in round_.turns(server, connections)]


def pairs(rounds: Sequence[Round], other: str, connections: int) -> list[tuple[ClosedLoop, ClosedLoop]]:
    """Our turns and the other server's of the same pass, but for those in which that one gave no right answer."""
    found = zip(all_turns(rounds, OURS, connections), all_turns(rounds, other, connections), strict=True)
    return [(ours, theirs) for ours, theirs in found if theirs.rate]


def note(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)
