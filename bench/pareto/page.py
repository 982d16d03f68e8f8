"""Architectures beside each other, as a table, a plot and a page."""

from collections.abc import Sequence
from typing import Any

from matplotlib.ticker import LogLocator, NullLocator

from bench.engines import BATCH
from bench.pareto.measure import Point, front
from cifar_models.registry import DEFAULT
from export.figures import Rows, as_markdown
from training.charts import ACCENT, SOFT, chart


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
        axes.plot(*zip(*(place(point) for point in trained if point.architecture in best), strict=True), color=SOFT)
        for point in trained:
            colour = ACCENT if point.architecture == DEFAULT else SOFT
            axes.scatter(*place(point), s=20 + point.int8_bytes / 2e4, color=colour, alpha=0.8, zorder=2)
            axes.annotate(point.architecture, place(point), (0, 10), textcoords="offset points", ha="center")
        axes.set(xscale="log", xlabel="int8 images a second", ylabel="validation accuracy, %")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(x=0.12, y=0.12)
        axes.grid(color=SOFT, alpha=0.25)
    return svg[0]


def place(point: Point) -> tuple[float, float]:
    assert point.trained
    return point.int8_images_per_second, 100 * point.trained.validation


def render(points: Sequence[Point], machine: dict[str, Any], threads: int) -> str:
    data = next((point.trained.data for point in points if point.trained), "no data")
    return f"""# Accuracy, speed and size

Made by `python -m bench.pareto`; do not edit. Measured {machine["date"][:10]} on {machine["cores"]} cores
({machine["cpu"]}, load {machine["load"][0]} before), {threads} threads, batches of {BATCH}.

{as_markdown(table(points))}

Speed and size are of fresh weights, exported as a bundle's are. Accuracies are on **{data}**,
one view each: of each architecture the int8 file of the bundle that ships, or else the float weights of the run that is
best on validation. The front is drawn by validation too: nothing was chosen by the test images. The runs differ in
recipe and length, so a point is what was reached, not what the architecture could reach; what is not yet trained is not
in the plot.

![Accuracy over speed](pareto.svg)
"""
