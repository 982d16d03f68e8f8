"""Accuracy against speed and size, for many architectures: python -m bench.pareto [--runs runs].

Accuracies are those of trained runs and bundles; an architecture without one is shown as not yet trained.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.pareto.accuracies import RUNS, best_accuracies, read_runs, record, with_recorded
from bench.pareto.measure import Point, export_fresh, measure
from bench.pareto.page import plot, render, table
from bench.report.charts import write_svg
from bench.serving.machine import describe_machine
from cifar_models.atomic import saving
from cifar_models.command import Parser, amount, run_command
from export.figures import as_text

_ARCHITECTURES = ("lenet", "lenet_120", "batchnorm_net", "resnet20", "cifarnet", "alexnet_bn", "vgg11", "resnet18")
_THREADS, _ROUNDS = 2, 5


def main() -> None:
    parser = Parser(
        prog="python -m bench.pareto", description="Accuracy against speed and size: pareto.md, .json and .svg."
    )
    parser.add_argument("--seconds", type=amount, default=2, help="of each timing (default: 2)")
    parser.add_argument("--runs", type=Path, help=f"first record the runs in this folder in {RUNS.name}")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for the result (default: docs)")
    options = parser.parse_args()
    machine = {name: found for name, found in describe_machine().items() if name in ("date", "cpu", "cores", "load")}
    runs = with_recorded(read_runs(options.runs) if options.runs else [])
    accuracies = best_accuracies(runs, Path("models"))
    if options.runs:
        record(runs)
    with TemporaryDirectory() as folder:
        files = {name: export_fresh(name, Path(folder), _THREADS) for name in _ARCHITECTURES}
        points = measure(files, accuracies, options.seconds, _ROUNDS)
    print(as_text(table(points)))
    write(points, machine, options)


def write(points: Sequence[Point], machine: dict[str, Any], options: argparse.Namespace) -> None:
    texts = {
        "pareto.json": json.dumps({"machine": machine, "points": [asdict(point) for point in points]}, indent=2) + "\n",
        "pareto.md": render(points, machine, _THREADS),
    }
    if any(point.trained for point in points):
        write_svg(options.out / "pareto.svg", plot(points))
    for name, text in texts.items():
        with saving(options.out / name) as partial:
            partial.write_text(text)


if __name__ == "__main__":
    run_command(main)
