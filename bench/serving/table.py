"""A run as Markdown: ratios first, for only they mean something on a machine that does other things too."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from bench.serving.open_loop import OpenLoop
from bench.serving.overload import Open
from bench.serving.report import Report
from bench.serving.rounds import CONNECTIONS, Round, asked_of, ratio, turns_of
from bench.serving.server import OURS, TITLES, Startup
from bench.serving.sweep import Sweep
from bench.serving.workload import BULK
from bench.serving.wrk import ClosedLoop
from export.figures import as_markdown

_HEADINGS = {
    "ratios": "Ours beside the others",
    "closed": "Closed loop: one 32x32 PNG per request, multipart (wrk; latency of refusals too)",
    "engine": "Engine alone",
    "bulk": f"{BULK} images per request, raw pixels",
    "startup": "Start and memory (all processes)",
    "open": "Open loop, Poisson arrivals",
    "sweep": "Open loop: latency against rate",
}
_OPEN_HEAD = ["offered/s", "right/s", "p50 ms", "p99 ms", "client late p99 ms", "answers", "no Retry-After"]


def markdown(report: Report) -> str:
    """Every section that was measured."""
    sections = [f"## {_HEADINGS[name]}\n\n{text}" for name, text in parts(report).items()]
    return "\n\n".join([origin(report.machine), *sections])


def origin(machine: dict[str, Any]) -> str:
    """When, and on what."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, load {machine['load'][0]}, "
        f"Python {machine['python']}, {versions}, revision {machine['revision']}"
    )


def parts(report: Report) -> dict[str, str]:
    """The text of every section that was measured, without its heading; the medians of the rounds and turns."""
    rounds, found = report.rounds, {}
    servers = asked_of(TITLES, rounds)
    if OURS in servers and len(servers) > 1:
        found["ratios"] = ratios(rounds, [name for name in servers if name != OURS])
    if servers:
        found["closed"] = closed(rounds, servers)
    if any(round_.engine for round_ in rounds):
        found["engine"] = engine(rounds)
    if any(round_.bulk for round_ in rounds):
        found["bulk"] = bulk(rounds)
    if started := [name for name in TITLES if any(name in round_.startup for round_ in rounds)]:
        found["startup"] = startup(rounds, started)
    if report.open:
        found["open"] = open_section(report.open)
    if report.sweep:
        found["sweep"] = sweep_section(report.sweep)
    return found


def ratios(rounds: Sequence[Round], others: Sequence[str]) -> str:
    """Of turns that follow each other; the CPU's time is what other processes disturb least."""

    def table(title: str, figure: Callable[[ClosedLoop], float], *, by_ours: bool = True) -> str:
        def cell(name: str, connections: int) -> str:
            value = ratio(rounds, name, connections, figure)
            if value is None:
                return "no right answer"
            return f"{1 / value if by_ours else value:.2f}"

        rows = [[TITLES[name], *(cell(name, many) for many in CONNECTIONS)] for name in others]
        return as_markdown([[title, *(f"c={many}" for many in CONNECTIONS)], *rows])

    tables = [
        table("right answers a second: ours divided by", lambda run: run.rate, by_ours=False),
        table("p99: divided by ours", lambda run: run.p99_ms),
        table("CPU time of an answer: divided by ours", lambda run: run.cpu_ms),
    ]
    return "\n\n".join(tables)


def closed(rounds: Sequence[Round], servers: Sequence[str]) -> str:
    def row(name: str, connections: int) -> list[str]:
        runs = turns_of(rounds, name, connections)
        middle = middle_of(runs)
        counts = [str(sum(run.refused for run in runs)), str(sum(run.lost for run in runs)), "0"]
        times = [f"{middle(lambda run: run.p50_ms):.1f}", f"{middle(lambda run: run.p99_ms):.1f}"]
        cost = f"{middle(lambda run: run.cpu_ms):.2f}"
        return [TITLES[name], str(connections), f"{middle(lambda run: run.rate):.0f}", *times, cost, *counts]

    head = ["server", "connections", "right answers/s", "p50 ms", "p99 ms", "CPU ms each", "refused", "lost", "wrong"]
    rows = [row(name, many) for name in servers for many in CONNECTIONS]
    return as_markdown([head, *rows])


def middle_of(runs: Sequence[ClosedLoop]) -> Callable[[Callable[[ClosedLoop], float]], float]:
    return lambda value: median(value(run) for run in runs)


def engine(rounds: Sequence[Round]) -> str:
    turns = [turn for round_ in rounds for turn in round_.engine]
    sizes = turns[0]
    rates = [f"{median(turn[size] for turn in turns):.0f}" for size in sizes]
    return as_markdown([["batch", *map(str, sizes)], ["images/s", *rates]])


def bulk(rounds: Sequence[Round]) -> str:
    rates = [run.rate * BULK for round_ in rounds for run in round_.bulk]
    text = f"ours: {median(rates):.0f} images/s"
    shares = shares_of_engine(rounds)
    if not shares:
        return text
    beside = f"{median(shares):.0%} of the engine alone in the turn beside it"
    return f"{text}, {beside} (the median of {len(shares)} turns, {min(shares):.0%} to {max(shares):.0%})"


def shares_of_engine(rounds: Sequence[Round]) -> list[float]:
    """What raw pixels through HTTP get of what the engine gives in its best batches, in turns beside each other."""
    turns = [turn for round_ in rounds for turn in zip(round_.bulk, round_.engine, strict=False)]
    if not turns:
        return []
    # Of all turns: the largest number of a single one is that of a lucky moment.
    best = max(turns[0][1], key=lambda size: median(rates[size] for _, rates in turns))
    return [BULK * bulk.rate / rates[best] for bulk, rates in turns]


def startup(rounds: Sequence[Round], servers: Sequence[str]) -> str:
    def row(name: str) -> list[str]:
        starts: list[Startup] = [round_.startup[name] for round_ in rounds]
        seconds = [median(start.ready for start in starts), median(start.first_answer for start in starts)]
        shared = [start.memory.pss for start in starts if start.memory.pss is not None]
        memory = [median(start.memory.rss for start in starts), median(start.memory.worker_rss for start in starts)]
        pss = f"{median(shared):.0f}" if shared else "-"
        return [TITLES[name], *(f"{value:.1f}" for value in seconds), pss, *(f"{value:.0f}" for value in memory)]

    head = ["server", "ready s", "first answer s", "PSS MiB", "RSS MiB", "largest process's RSS MiB"]
    return as_markdown([head, *map(row, servers)])


def open_section(opened: Open) -> str:
    memory = ", ".join(f"{each.worker_rss:.0f}" for each in opened.memory)
    tails = [turn.run.p99_ms for turn in opened.half if turn.run.p99_ms is not None]
    tail = f"a p99 of {median(tails):.1f} ms" if tails else "no right answer"
    shares = [turn.share for turn in opened.overload]
    overloads = [run for turn in opened.overload for run in (turn.run, *turn.after)]
    rows = [open_row(run) for run in (*(turn.run for turn in opened.half), *overloads)]
    return (
        f"At half of the saturation, measured just before each turn: {tail}, the median of {len(tails)} turns. "
        f"The saturation: {opened.saturation:.0f} right answers/s at 128 connections, the median of these.\n\n"
        f"At twice the saturation: {median(shares):.0%} of it answered right ({min(shares):.0%} to {max(shares):.0%}), "
        f"of what it was just before and after each turn. Largest process's RSS before the first and after each: "
        f"{memory} MiB.\n\n"
        f"{as_markdown([['phase', *_OPEN_HEAD], *rows])}"
    )


def open_row(run: OpenLoop) -> list[str]:
    counts = {**run.statuses, **({"asked again": run.asked_again} if run.asked_again else {})}
    answers = ", ".join(f"{status}: {count}" for status, count in counts.items())
    times = [f"{value:.1f}" if value is not None else "-" for value in (run.p50_ms, run.p99_ms, run.late_p99_ms)]
    return [run.phase, f"{run.offered:.0f}", f"{run.goodput:.0f}", *times, answers, str(run.without_retry_after)]


def sweep_section(swept: Sweep) -> str:
    rows = [[TITLES[name], *open_row(run)[1:]] for name, runs in swept.runs.items() for run in runs]
    text = (
        f"Up to the first rate that a server does not keep up with; ours saturates at {swept.saturation:.0f} a second."
    )
    return f"{text}\n\n{as_markdown([['server', *_OPEN_HEAD], *rows])}"
