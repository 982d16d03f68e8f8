"""python -m bench.serving.soak [--seconds 600] [--requests 1000000]: good and bad requests, all answers checked.

It fails when an answer is wrong, an error of the server's (5xx), or missing, when most are that it is busy (429), or
when the worker's memory grows by more than 5 % after the warm-up, the first quarter of the time.
"""

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.serving.connection import LOST, Answer, Connection
from bench.serving.errors import WrongAnswer
from bench.serving.mixture import Request, mixture
from bench.serving.server import HOST, OURS, ServerProcess, running
from bench.serving.workload import single_pictures
from cifar_models.command import Parser, amount, count, run_command
from cifar_models.errors import InputError

_CONNECTIONS = 32
_GROWTH = 0.05  # of the worker's memory after the warm-up
_WARM_UP = 0.25  # of the time
_BUSY = 429  # is an answer that any request may get


@dataclass(slots=True, eq=False)
class Soak:
    """A closed loop over `requests`, again and again, until `most` of them are answered or `stop` is called."""

    requests: Sequence[Request]
    port: int
    most: int
    statuses: Counter[int] = field(default_factory=Counter)
    failure: str = ""  # the first one; it ends the soak

    _known: set[tuple[int, bytes]] = field(default_factory=set)  # right answers, which repeat to the byte
    _sent: int = 0
    _done: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, connections: int) -> None:
        loop = asyncio.get_running_loop()
        made = [
            await loop.create_connection(lambda: Connection(self._receive, self._forget), HOST, self.port)
            for _ in range(connections)
        ]
        for _, connection in made:
            self._send(connection)
        await self._done.wait()
        for _, connection in made:
            connection.close()

    def stop(self) -> None:
        self._done.set()

    def _send(self, connection: Connection) -> None:
        index = self._sent % len(self.requests)
        self._sent += 1
        connection.send(index, self.requests[index].data)

    def _receive(self, connection: Connection, index: int, answer: Answer) -> None:
        if self._done.is_set():
            return
        self.statuses[answer.status] += 1
        if not self._is_right(index, answer):
            self.failure = f"Request {index} of the mixture got {answer.status or 'no answer'}: {answer.body[:300]!r}"
        if self.failure or self.statuses.total() >= self.most:
            self.stop()
        else:
            self._send(connection)

    def _is_right(self, index: int, answer: Answer) -> bool:
        if answer.status in (LOST, _BUSY):
            return answer.status == _BUSY
        if (index, answer.body) not in self._known:
            if not self.requests[index].is_right(answer.status, answer.body):
                return False
            self._known.add((index, answer.body))
        return True

    def _forget(self, connection: Connection) -> None:
        if not self._done.is_set():
            self.failure = "The server closed a connection between two requests."
            self.stop()


async def soak(server: ServerProcess, most: int, seconds: float) -> tuple[Soak, list[float]]:
    """The soak when it has ended, and the worker's memory in MiB, after the warm-up and at the end."""
    run = Soak(mixture(), server.port, most)
    memory: list[float] = []
    loop = asyncio.get_running_loop()
    loop.call_later(_WARM_UP * seconds, lambda: memory.append(server.memory().worker_rss))
    loop.call_later(seconds, run.stop)
    await run.run(_CONNECTIONS)
    memory.append(server.memory().worker_rss)
    return run, memory


def main() -> None:
    options = parse_options()
    with running(OURS, single_pictures()) as (server, startup):
        started = time.perf_counter()
        run, memory = asyncio.run(soak(server, options.requests, options.seconds))
        seconds = time.perf_counter() - started
    report(run, seconds, [startup.memory.worker_rss, *memory])
    if run.failure:
        raise WrongAnswer(run.failure)
    if run.statuses[_BUSY] > run.statuses.total() / 2:
        raise WrongAnswer("Most answers are that the server is busy, which says nothing of the others.")
    if memory[-1] > (1 + _GROWTH) * memory[0]:
        raise InputError(f"The worker grew from {memory[0]:.0f} to {memory[-1]:.0f} MiB, by more than {_GROWTH:.0%}.")


def report(run: Soak, seconds: float, memory: list[float]) -> None:
    statuses = ", ".join(f"{count:,} of {status}" for status, count in sorted(run.statuses.items()))
    print(f"{run.statuses.total():,} answers in {seconds:.0f} s: {statuses}.")
    known = "start, after the warm-up, end" if len(memory) == 3 else "start, end; too short to judge its growth"
    print(f"The worker's memory: {' -> '.join(f'{size:.1f}' for size in memory)} MiB ({known}).")


def parse_options() -> argparse.Namespace:
    parser = Parser(prog="python -m bench.serving.soak", description="Good and bad requests for long.")
    parser.add_argument("--seconds", type=amount, default=600, help="at most (default: 600)")
    parser.add_argument("--requests", type=count, default=1_000_000, help="at most (default: 1000000)")
    return parser.parse_args()


if __name__ == "__main__":
    run_command(main)
