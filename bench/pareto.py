"""Accuracy against speed and size, for many architectures: python -m bench.pareto [--runs runs].

Speed and bytes are of fresh weights, exported as a bundle's would be: they depend on the network, not on what it learned.
Accuracies are those of trained runs and bundles; an architecture without one is shown as not yet trained.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.accuracies import Accuracy, best_accuracies, read_runs, record
from bench.engines import rate
from bench.report.charts import write_svg
from bench.serving.machine import describe_machine
from cifar_models.atomic import replacing
from cifar_models.errors import run_command
from cifar_models.registry import DEFAULT, find_model
from export.architectures import fresh_classifier
from export.figures import Rows, as_markdown, as_text
from export.formats import FORMATS, open_runner
from export.golden import smooth_images
from export.int8_file import export_int8
from export.onnx_file import export_onnx
from export.runner import Runner, Target
from training.charts import BLUE, GREY, ORANGE, chart

ARCHITECTURES = ("lenet", "lenet_120", "batchnorm_net", "resnet20", "cifarnet", "alexnet_bn", "vgg11", "resnet18")
_BATCH = 64  # images, as the server gathers them
_CALIBRATION = 64  # images made by a formula: ranges change no speed


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One architecture. Images a second are medians."""

    architecture: str
    parameters: int
    int8_images_per_second: float
    fp32_images_per_second: float
    int8_bytes: int
    fp32_bytes: int  # weights stored as float16
    trained: Accuracy | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Files:
    """An architecture's exported files, loaded."""

    parameters: int
    runners: dict[str, Runner]  # by "onnx-int8" and "onnx-fp32"
    bytes: dict[str, int]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.pareto", description="Accuracy against speed and size: pareto.md, .json and .svg."
    )
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES), metavar="NAME")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU (default: 2)")
    parser.add_argument("--seconds", type=float, default=2, help="of each timing (default: 2)")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5; the medians count")
    parser.add_argument("--bundles", type=Path, default=Path("models"), help="folder of the bundles (default: models)")
    parser.add_argument("--runs", type=Path, help="first record the runs in this folder in bench/accuracies.json")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for the result (default: docs)")
    options = parser.parse_args()
    for name in options.architectures:
        find_model(name)
    if options.runs:
        record(read_runs(options.runs))
    machine = {name: found for name, found in describe_machine().items() if name in ("date", "cpu", "cores", "load")}
    accuracies = best_accuracies(options.bundles)
    with TemporaryDirectory() as folder:
        files = {name: export_fresh(name, Path(folder), options.threads) for name in options.architectures}
        points = measure(files, accuracies, options.seconds, options.rounds)
    print(as_text(table(points)))
    write(points, machine, options)


def export_fresh(name: str, folder: Path, threads: int) -> Files:
    model = fresh_classifier(name)
    paths = {key: folder / f"{name}-{FORMATS[key].file}" for key in ("onnx-int8", "onnx-fp32")}
    graph = export_onnx(model, paths["onnx-fp32"], {})
    export_int8(graph, smooth_images(_CALIBRATION), paths["onnx-int8"], {})
    return Files(
        parameters=sum(parameter.numel() for parameter in model.network.parameters()),
        runners={key: open_runner(key, path, Target(threads=threads)) for key, path in paths.items()},
        bytes={key: path.stat().st_size for key, path in paths.items()},
    )


def measure(files: dict[str, Files], accuracies: dict[str, Accuracy], seconds: float, rounds: int) -> list[Point]:
    """All take turns in every round, so that what disturbs one disturbs the others."""
    rates: dict[tuple[str, str], list[float]] = {(name, key): [] for name in files for key in files[name].runners}
    for _ in range(rounds):
        for name, key in rates:
            rates[name, key].append(rate(files[name].runners[key], _BATCH, seconds))
    return [
        Point(
            architecture=name,
            parameters=found.parameters,
            int8_images_per_second=statistics.median(rates[name, "onnx-int8"]),
            fp32_images_per_second=statistics.median(rates[name, "onnx-fp32"]),
            int8_bytes=found.bytes["onnx-int8"],
            fp32_bytes=found.bytes["onnx-fp32"],
            trained=accuracies.get(name),
        )
        for name, found in files.items()
    ]


def front(points: Sequence[Point]) -> set[str]:
    """The trained architectures that none surpasses: as accurate on validation, as fast and as small, and one more so."""
    merits = {
        point.architecture: (point.trained.validation, point.int8_images_per_second, -point.int8_bytes)
        for point in points
        if point.trained
    }
    return {
        name
        for name, own in merits.items()
        if not any(other != own and all(a >= b for a, b in zip(other, own, strict=True)) for other in merits.values())
    }


def table(points: Sequence[Point]) -> Rows:
    best = front(points)
    head = ["architecture", "parameters", "int8 images/s", "fp32 images/s", "int8 MB", "fp32 MB"]
    return [
        [*head, "validation", "test", "trained", "front"],
        *([*speed_cells(point), *accuracy_cells(point), "yes" * (point.architecture in best)] for point in points),
    ]


def speed_cells(point: Point) -> list[str]:
    rates = (f"{found:,.0f}" for found in (point.int8_images_per_second, point.fp32_images_per_second))
    sizes = (f"{found / 1e6:.2f}" for found in (point.int8_bytes, point.fp32_bytes))
    return [point.architecture, f"{point.parameters:,}", *rates, *sizes]


def accuracy_cells(point: Point) -> list[str]:
    if point.trained is None:
        return ["", "", "not yet trained"]
    found = point.trained
    return [f"{found.validation:.2%}", f"{found.test:.2%}", f"{found.source}, epoch {found.epoch}"]


def plot(points: Sequence[Point]) -> str:
    """Accuracy over int8 speed, the area of a point is its size; the front is joined."""
    trained = sorted((point for point in points if point.trained), key=lambda point: point.int8_images_per_second)
    best = front(points)
    with chart(7, 4.2) as (axes, svg):
        axes.plot(*zip(*(place(point) for point in trained if point.architecture in best), strict=True), color=GREY)
        for point in trained:
            colour = ORANGE if point.architecture == DEFAULT else BLUE
            axes.scatter(*place(point), s=20 + point.int8_bytes / 2e4, color=colour, alpha=0.8, zorder=2)
            axes.annotate(point.architecture, place(point), (0, 10), textcoords="offset points", ha="center")
        axes.set(xscale="log", xlabel="int8 images a second (log)", ylabel="validation accuracy, %")
        axes.margins(x=0.12, y=0.12)
        axes.grid(color=GREY, alpha=0.25)
    return svg[0]


def place(point: Point) -> tuple[float, float]:
    assert point.trained
    return point.int8_images_per_second, 100 * point.trained.validation


def write(points: Sequence[Point], machine: dict[str, Any], options: argparse.Namespace) -> None:
    texts = {
        "pareto.json": json.dumps({"machine": machine, "points": [asdict(point) for point in points]}, indent=2) + "\n",
        "pareto.md": render(points, machine, options.threads),
    }
    if any(point.trained for point in points):
        write_svg(options.out / "pareto.svg", plot(points))
    for name, text in texts.items():
        with replacing(options.out / name) as partial:
            partial.write_text(text)


def render(points: Sequence[Point], machine: dict[str, Any], threads: int) -> str:
    data = next((point.trained.data for point in points if point.trained), "no data")
    return f"""# Accuracy, speed and size

Made by `python -m bench.pareto`; do not edit. Measured {machine["date"][:10]} on {machine["cores"]} cores
({machine["cpu"]}, load {machine["load"][0]} before), {threads} threads, batches of {_BATCH}.

{as_markdown(table(points))}

Speed and size are of fresh weights, exported as a bundle's are. Accuracies are on **{data}**, one view each, of the float
weights (an int8 file that lost more than 0.3 points would not be kept): of each architecture the run or the bundle that is
best on validation. The front is drawn by validation too: nothing was chosen by the test images. The runs differ in recipe and
length, so a point is what was reached, not what the architecture could reach; what is not yet trained is not in the plot.

![Accuracy over speed](pareto.svg)
"""


if __name__ == "__main__":
    run_command(main)
