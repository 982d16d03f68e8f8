"""Rounds: in each, every server in short turns, so that what else the machine does hits all alike.

All are started, and those whose turn it is not are paused. What shares this machine may slow it down by half for some
seconds or a minute, so that only turns that follow each other can be compared: one of ours stands before and after each
of another server.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from bench.engines import BATCHES, load_engine, rates_of
from bench.serving.server import ENGINE, OURS, ServerProcess, Startup, running
from bench.serving.workload import Workload
from bench.serving.wrk import ClosedLoop, closed_loop
from serving.settings import Settings

T = TypeVar("T")

PARTS = ("engine", "startup", "closed", "bulk", "open", "sweep")
# By connections, the passes for each of those that were asked for: under a crowd more depends on the machine.
_SHARES = {1: 1.0, 32: 1.5, 128: 1.5}
CONNECTIONS = tuple(_SHARES)
_BULK_CONNECTIONS = 4
_WARM_UP = 1.0  # seconds
_TURN = 2.0  # seconds, or a little more or less, to make whole turns


@dataclass(frozen=True, slots=True)
class Turn:
    """Of one server in the closed loop."""

    server: str
    run: ClosedLoop


@dataclass(frozen=True, slots=True)
class Round:
    """What was measured in one round; what was not asked for is empty."""

    engine: list[dict[int, float]] = field(default_factory=list)  # each turn: images a second by images of a batch
    startup: dict[str, Startup] = field(default_factory=dict)  # by server
    closed: list[Turn] = field(default_factory=list)  # in the order in which they were asked, by CONNECTIONS
    bulk: list[ClosedLoop] = field(default_factory=list)  # of raw pixels, ours only, each turn before one of the engine

    def beside(self, other: str, connections: int) -> list[tuple[ClosedLoop, ClosedLoop, ClosedLoop]]:
        """Each turn of another server between the two of ours beside it, but for those without a right answer."""
        turns = [turn for turn in self.closed if turn.run.connections == connections]
        trios = zip(turns, turns[1:], turns[2:], strict=False)
        return [
            (before.run, theirs.run, after.run)
            for before, theirs, after in trios
            if before.server == after.server == OURS and theirs.server == other and theirs.run.rate
        ]


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
        result, servers = Round(), dict[str, ServerProcess]()
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
            if "closed" in self.parts:
                result.closed.extend(self._closed(servers))
            for turn in range(self._turns):
                note(f"turn {turn + 1} of {self._turns}, the engine alone")
                if "bulk" in self.parts and OURS in servers:
                    result.bulk.append(ask(servers[OURS], self.batches, _BULK_CONNECTIONS, self._turn))
                if "engine" in self.parts:
                    result.engine.append(alone(self._turn / 2))
        return result

    @property
    def _turns(self) -> int:
        return max(1, round(self.seconds / _TURN))

    @property
    def _turn(self) -> float:
        return self.seconds / self._turns

    def _asks(self, name: str) -> bool:
        return "closed" in self.parts or (name == OURS and "bulk" in self.parts)

    def _closed(self, servers: dict[str, ServerProcess]) -> Iterator[Turn]:
        # Few connections first, and each number warm: after a crowd BentoML lets a lone request wait for long.
        for connections, share in _SHARES.items():
            for server in servers.values():
                ask(server, self.pictures, connections, _WARM_UP)
            passes = max(1, round(share * self._turns))
            note(f"{connections} connections, passes: {passes}")
            for name in in_turns(list(servers), passes):
                yield Turn(name, ask(servers[name], self.pictures, connections, self._turn))


def alone(seconds: float) -> dict[int, float]:
    """What our engine does without a server, the limit of any that has it: images a second by size of batch."""
    settings = Settings()
    return rates_of(load_engine(ENGINE, settings.bundles / settings.model, settings), BATCHES, seconds)


def in_turns(servers: Sequence[str], passes: int) -> list[str]:
    """Who is asked, one after the other: ours before and after each other; in each pass another of these is first."""
    others = [name for name in servers if name != OURS]
    asked = [name for number in range(passes) for name in rotated(others, number)]
    if OURS not in servers:
        return asked
    return [OURS, *(name for other in asked for name in (other, OURS))] if others else [OURS] * passes


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


def asked_of(servers: Iterable[str], rounds: Sequence[Round]) -> list[str]:
    """Those of them that had turns in the closed loop."""
    asked = {turn.server for round_ in rounds for turn in round_.closed}
    return [name for name in servers if name in asked]


def turns_of(rounds: Sequence[Round], server: str, connections: int) -> list[ClosedLoop]:
    """In their order; none of a server that was not asked."""
    turns = [turn for round_ in rounds for turn in round_.closed]
    return [turn.run for turn in turns if turn.server == server and turn.run.connections == connections]


def ratio(
    rounds: Sequence[Round], other: str, connections: int, figure: Callable[[ClosedLoop], float] = lambda run: run.rate
) -> float | None:
    """Ours divided by the other's, each summed over its turns, of ours those beside one of the other's.

    None if the other never gave a right answer.
    """
    trios = [trio for round_ in rounds for trio in round_.beside(other, connections)]
    if not trios:
        return None
    ours = sum(figure(before) + figure(after) for before, _, after in trios) / 2
    return ours / sum(figure(theirs) for _, theirs, _ in trios)


def note(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)
