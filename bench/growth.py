"""How cost grows with images per request, batch limit, model and workers: python -m bench.growth.

The points of a curve take short turns, as servers do in `bench.serving.rounds`: the machine's pace changes within a
minute by more than most of them differ.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.output import output, write_figures
from bench.peers.model import BUNDLE
from bench.serving.machine import describe_machine
from bench.serving.rounds import ask, note, rotated
from bench.serving.server import ENGINE, OURS, ServerProcess, running
from bench.serving.workload import Workload, raw_batches, single_pictures
from bench.serving.wrk import ClosedLoop, find_wrk
from cifar_models.bundle import MANIFEST, read_manifest
from cifar_models.command import Parser, amount, run_command
from export.figures import as_markdown
from serving.settings import available_cores

PARTS = {
    "images": "images per request, raw pixels, 4 connections",
    "batch": "CIFAR_MAX_BATCH, images; one PNG per request, 128 connections",
    "model": "bundle and arithmetic; one PNG per request, 32 connections",
    "workers": "CIFAR_WORKERS; one PNG per request, 32 connections",
}
_IMAGES = (1, 4, 16, 64, 256, 1024)
_LIMITS = (1, 4, 16, 64, 256)
_WARM_UP_SECONDS = 1.0
_TURN_SECONDS = 2.0  # or a little more or less, to make whole turns
_FEW = 100  # answers, of which the 99th percentile is but the longest


@dataclass(frozen=True, slots=True)
class Point:
    """Of one curve, the medians of its turns. In a closed loop both kinds of time are those at saturation."""

    value: str  # of what grows
    images_per_second: float
    p50_ms: float  # of a request
    p99_ms: float
    refused: int
    answers: int  # in all turns


@dataclass(frozen=True, slots=True)
class Kind:
    """What is asked, and of whom, for one point."""

    value: str
    workload: Workload
    settings: dict[str, str]

    @property
    def server(self) -> str:
        """Points of the same one have the same name for it."""
        return str(self.settings)


@dataclass(frozen=True, slots=True)
class Growth:
    """Points by part of PARTS, each in the order in which it grows."""

    machine: dict[str, Any]
    seconds: float  # of each point
    curves: dict[str, list[Point]]


def main() -> None:
    parser = Parser(prog="python -m bench.growth", description="How cost grows with load and settings.")
    parser.add_argument("--seconds", type=amount, default=4, help="of each point (default: 4)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts (default: all)")
    parser.add_argument("--json", type=output, help="also write the figures to this file")
    options = parser.parse_args()
    find_wrk()
    parts = {"images": by_images, "batch": by_limit, "model": by_model, "workers": by_workers}
    machine = describe_machine()
    growth = Growth(machine, options.seconds, {name: parts[name](options.seconds) for name in options.only})
    for name, points in growth.curves.items():
        print(f"{table(name, points)}\n")
    if options.json:
        write_figures(growth, options.json)


def by_images(seconds: float) -> list[Point]:
    return measure([Kind(str(size), raw_batches(size=size), {}) for size in _IMAGES], 4, seconds)


def by_limit(seconds: float) -> list[Point]:
    pictures = single_pictures()
    return measure([Kind(str(limit), pictures, {"CIFAR_MAX_BATCH": str(limit)}) for limit in _LIMITS], 128, seconds)


def by_workers(seconds: float) -> list[Point]:
    pictures, counts = single_pictures(), range(1, available_cores() + 1)
    return measure([Kind(str(count), pictures, {"CIFAR_WORKERS": str(count)}) for count in counts], 32, seconds)


def by_model(seconds: float) -> list[Point]:
    """Every bundle that ships, as int8 and as float32, the smallest first."""
    folders = [path.parent for path in BUNDLE.parent.glob(f"[!.]*/{MANIFEST}")]
    kinds = []
    for folder in sorted(folders, key=lambda folder: read_manifest(folder).parameters):
        manifest = read_manifest(folder)
        for precision in ("int8", "fp32"):
            artifact = manifest.find(f"onnx-{precision}")
            if artifact is None:
                continue
            variables = {"CIFAR_MODEL": folder.name, "CIFAR_ENGINE": ENGINE.replace("int8", precision)}
            name = f"{folder.name} {precision}, {manifest.parameters / 1e6:.2g} M"
            kinds.append(Kind(name, single_pictures(folder / artifact.file), variables))
    return measure(kinds, 32, seconds)


def measure(kinds: Sequence[Kind], connections: int, seconds: float) -> list[Point]:
    """All in turns, on a server for each setting; those whose turn it is not are paused."""
    turns = max(1, round(seconds / _TURN_SECONDS))
    with ExitStack() as stack:
        servers = start(kinds, stack)
        for kind in kinds:
            ask(servers[kind.server], kind.workload, connections, _WARM_UP_SECONDS)
        found: dict[str, list[ClosedLoop]] = {kind.value: [] for kind in kinds}
        for turn in range(turns):
            note(f"growth: turn {turn + 1} of {turns}, {', '.join(found)}")
            for kind in rotated(kinds, turn):
                found[kind.value].append(ask(servers[kind.server], kind.workload, connections, seconds / turns))
    return [point(kind, found[kind.value]) for kind in kinds]


def start(kinds: Sequence[Kind], stack: ExitStack) -> dict[str, ServerProcess]:
    """The paused servers of their settings. Nobody times their starts, so that one for each core is made at a time."""
    different = {kind.server: kind for kind in kinds}

    def start_one(kind: Kind) -> ServerProcess:
        server, _ = stack.enter_context(running(OURS, kind.workload, kind.settings))
        server.pause()
        return server

    with ThreadPoolExecutor(available_cores()) as pool:
        return dict(zip(different, pool.map(start_one, different.values()), strict=True))


def point(kind: Kind, runs: Sequence[ClosedLoop]) -> Point:
    return Point(
        kind.value,
        kind.workload.images * median(run.rate for run in runs),
        median(run.p50_ms for run in runs),
        median(run.p99_ms for run in runs),
        sum(run.refused for run in runs),
        sum(sum(run.statuses.values()) for run in runs),
    )


def table(name: str, points: list[Point]) -> str:
    rows = [
        [
            point.value,
            f"{point.images_per_second:.0f}",
            f"{point.p50_ms:.1f}",
            f"{point.p99_ms:.1f}{f' (of {point.answers})' if point.answers < _FEW else ''}",
            str(point.refused),
        ]
        for point in points
    ]
    return as_markdown([[PARTS[name], "images/s", "p50 ms", "p99 ms", "refused"], *rows])


if __name__ == "__main__":
    run_command(main)
