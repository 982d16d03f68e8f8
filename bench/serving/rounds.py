"""Rounds: in each, the engine and every server in turn, so that what else the machine does hits all alike."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.serving.engine import engine_rates
from bench.serving.server import OURS, ServerProcess, Startup, running
from bench.serving.workload import Workload
from bench.serving.wrk import ClosedLoop, closed_loop

PARTS = ("engine", "startup", "closed", "bulk", "open", "sweep")
CONNECTIONS = (1, 8, 32, 128)
_BULK_CONNECTIONS = 4
_WARM_UP = (32, 1.0)  # connections, seconds


@dataclass(frozen=True, slots=True)
class Round:
    """What was measured in one round; what was not asked for is empty."""

    engine: dict[int, float]  # images a second by images of a batch
    startup: dict[str, Startup]  # by server
    closed: dict[str, list[ClosedLoop]]  # by server, of CONNECTIONS
    bulk: list[ClosedLoop] = field(default_factory=list)  # of raw pixels, ours only


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
        names = [name for name in self.servers if self._asks(name)]
        result = Round({} if OURS in names else self._engine(), {}, {})
        turn = number % max(1, len(names))
        for name in (*names[turn:], *names[:turn]):
            note(f"round {number + 1}: {name}")
            with running(name, self.pictures) as (server, startup):
                result.startup[name] = startup
                result.closed[name] = self._closed(server)
                if name == OURS:
                    result.bulk.extend(self._bulk(server))
                    result.engine.update(self._engine())  # at once: in a minute this machine may be a slower one
        return result

    def _asks(self, name: str) -> bool:
        return "startup" in self.parts or "closed" in self.parts or (name == OURS and "bulk" in self.parts)

    def _closed(self, server: ServerProcess) -> list[ClosedLoop]:
        if "closed" not in self.parts:
            return []
        connections, seconds = _WARM_UP
        closed_loop(server, self.pictures, connections=connections, seconds=seconds)
        return [closed_loop(server, self.pictures, connections=many, seconds=self.seconds) for many in CONNECTIONS]

    def _bulk(self, server: ServerProcess) -> list[ClosedLoop]:
        if "bulk" not in self.parts:
            return []
        return [closed_loop(server, self.batches, connections=_BULK_CONNECTIONS, seconds=self.seconds)]

    def _engine(self) -> dict[int, float]:
        return engine_rates(self.seconds / 2) if "engine" in self.parts else {}


def note(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)
