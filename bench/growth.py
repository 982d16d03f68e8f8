"""How cost grows with images per request, batch limit, model and workers: python -m bench.growth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.peers.model import BUNDLE
from bench.serving.machine import describe_machine
from bench.serving.rounds import note
from bench.serving.server import ENGINE, OURS, running
from bench.serving.workload import Workload, raw_batches, single_pictures
from bench.serving.wrk import closed_loop, find_wrk
from cifar_models.atomic import replacing
from cifar_models.bundle import MANIFEST, read_manifest
from cifar_models.command import Parser, amount, run_command
from cifar_models.errors import InputError
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


@dataclass(frozen=True, slots=True)
class Point:
    """Of one curve. In a closed loop both kinds of time are those at saturation."""

    value: str  # of what grows
    images_per_second: float
    p50_ms: float  # of a request
    p99_ms: float
    refused: int


@dataclass(frozen=True, slots=True)
class Growth:
    """Points by part of PARTS, each in the order in which it grows."""

    machine: dict[str, Any]
    seconds: float  # of each point
    curves: dict[str, list[Point]]


_JSON = TypeAdapter(Growth)


def main() -> None:
    parser = Parser(prog="python -m bench.growth", description="How cost grows with load and settings.")
    parser.add_argument("--seconds", type=amount, default=4, help="of each point (default: 4)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts (default: all)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    find_wrk()
    measure = {"images": by_images, "batch": by_limit, "model": by_model, "workers": by_workers}
    machine = describe_machine()
    growth = Growth(machine, options.seconds, {name: measure[name](options.seconds) for name in options.only})
    if options.json:
        write_growth(growth, options.json)
    for name, points in growth.curves.items():
        print(f"{table(name, points)}\n")


def by_images(seconds: float) -> list[Point]:
    note("growth: images per request")
    workloads = {size: raw_batches(size=size) for size in _IMAGES}
    with running(OURS, workloads[1]) as (server, _):
        closed_loop(server, workloads[1], connections=4, seconds=_WARM_UP_SECONDS)
        runs = {size: closed_loop(server, load, connections=4, seconds=seconds) for size, load in workloads.items()}
    return [Point(str(size), size * run.rate, run.p50_ms, run.p99_ms, run.refused) for size, run in runs.items()]


def by_limit(seconds: float) -> list[Point]:
    return [point(str(limit), {"CIFAR_MAX_BATCH": str(limit)}, 128, seconds) for limit in _LIMITS]


def by_workers(seconds: float) -> list[Point]:
    return [point(str(count), {"CIFAR_WORKERS": str(count)}, 32, seconds) for count in range(1, available_cores() + 1)]


def by_model(seconds: float) -> list[Point]:
    """Every bundle that ships, as int8 and as float32, the smallest first."""
    folders = [path.parent for path in BUNDLE.parent.glob(f"[!.]*/{MANIFEST}")]
    points = []
    for folder in sorted(folders, key=lambda folder: read_manifest(folder).parameters):
        manifest = read_manifest(folder)
        for precision in ("int8", "fp32"):
            artifact = manifest.find(f"onnx-{precision}")
            if artifact is None:
                continue
            variables = {"CIFAR_MODEL": folder.name, "CIFAR_ENGINE": ENGINE.replace("int8", precision)}
            name = f"{folder.name} {precision}, {manifest.parameters / 1e6:.2g} M"
            points.append(point(name, variables, 32, seconds, single_pictures(folder / artifact.file)))
    return points


def point(
    value: str, settings: dict[str, str], connections: int, seconds: float, workload: Workload | None = None
) -> Point:
    """Single pictures on a fresh server with these settings."""
    note(f"growth: {settings}")
    pictures = workload or single_pictures()
    with running(OURS, pictures, settings) as (server, _):
        closed_loop(server, pictures, connections=connections, seconds=_WARM_UP_SECONDS)
        run = closed_loop(server, pictures, connections=connections, seconds=seconds)
    return Point(value, run.rate, run.p50_ms, run.p99_ms, run.refused)


def table(name: str, points: list[Point]) -> str:
    rows = [
        [
            point.value,
            f"{point.images_per_second:.0f}",
            f"{point.p50_ms:.1f}",
            f"{point.p99_ms:.1f}",
            str(point.refused),
        ]
        for point in points
    ]
    return as_markdown([[PARTS[name], "images/s", "p50 ms", "p99 ms", "refused"], *rows])


def write_growth(growth: Growth, path: Path) -> None:
    with replacing(path) as partial:
        partial.write_bytes(_JSON.dump_json(growth, indent=2) + b"\n")


def read_growth(path: Path) -> Growth:
    """Raises InputError when it is not such a file."""
    try:
        return _JSON.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise InputError(f"{path} is no report of `python -m bench.growth`; measure it again with --json.") from error


if __name__ == "__main__":
    run_command(main)
