"""The pictures of docs/benchmarks.md, each as PNG and SVG."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib

matplotlib.use("agg")  # no display is needed

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from bench.growth import PARTS, Growth
from bench.serving.open_loop import OpenLoop
from bench.serving.report import Report
from bench.serving.rounds import CONNECTIONS, Round, asked_of, ratio, turns_of
from bench.serving.server import OURS
from bench.serving.wrk import ClosedLoop
from cifar_models.atomic import saving
from training.look import light

_NAMES = {
    OURS: "ours",
    "uvicorn": "ours, bare uvicorn",
    "fastapi": "FastAPI, no batching",
    "litserve": "LitServe",
    "bentoml": "BentoML batchable, tuned",
    "documented": "BentoML batchable, documented",
}
# Ours is the colour of our page; the others are told apart from it and from each other by most colour-blind people too.
_COLOURS = {
    OURS: light("accent"),
    "uvicorn": "#7fb8a6",
    "fastapi": "#0072b2",
    "litserve": "#e69f00",
    "bentoml": "#7a5ea8",
    "documented": "#b9a3d6",
}
_INK, _FAINT = light("ink"), light("line")
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "benchmarks",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.facecolor": light("sheet"),
    "axes.titleweight": "bold",
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": _FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "lines.markersize": 5.5,
}


def draw_serving(report: Report, folder: Path) -> list[str]:
    """Draw what the report has; the names of the pictures."""
    servers = asked_of(_NAMES, report.rounds)
    names = []
    if OURS in servers and len(servers) > 1:
        names.append(ratios(report.rounds, [name for name in servers if name != OURS], folder))
    if servers:
        names.append(throughput(report.rounds, servers, folder))
    if report.sweep:
        names.append(latency(report.sweep.runs, folder))
    return names


@contextmanager
def chart(folder: Path, name: str, title: str, rows: int = 1, columns: int = 1, **size: Any) -> Iterator[Any]:
    """A grid of axes, saved as folder/name.png and .svg at the end."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = plt.subplots(rows, columns, squeeze=False, layout="constrained", **size)
        figure.suptitle(title, x=0.01, ha="left", fontsize=13.5, fontweight="bold")
        yield axes
        for kind in ("png", "svg"):
            with saving(folder / f"{name}.{kind}") as partial:
                figure.savefig(partial, format=kind, dpi=160, facecolor=light("sheet"), metadata=metadata(kind))
        plt.close(figure)


def metadata(kind: str) -> dict[str, None] | None:
    return {"Date": None} if kind == "svg" else None  # the same figures give the same file


def ratios(rounds: Sequence[Round], others: Sequence[str], folder: Path) -> str:
    """Bars from 1 outward: how many times as many right answers as each other server."""
    with chart(
        folder, "ratios", "Right answers a second: ours ÷ the other", figsize=(8, 1.1 + 0.78 * len(others))
    ) as axes:
        plot: Axes = axes[0, 0]
        height = 0.8 / len(CONNECTIONS)
        for point, connections in enumerate(CONNECTIONS):
            shade = 0.35 + 0.65 * point / max(1, len(CONNECTIONS) - 1)
            for row, name in enumerate(others):
                value = ratio(rounds, name, connections)
                if value is None:
                    continue
                place = row + (point - (len(CONNECTIONS) - 1) / 2) * height
                label = f"{connections} connection{'s' * (connections > 1)}" if row == 0 else None
                plot.barh(place, value - 1, height * 0.86, left=1, color=_COLOURS[OURS], alpha=shade, label=label)
                plot.annotate(
                    f"{value:.2f}", (max(value, 1), place), (4, 0), textcoords="offset points", va="center", size=9
                )
        plot.axvline(1, color=_INK, linewidth=1)
        plot.set_yticks(range(len(others)), [_NAMES[name] for name in others])
        plot.invert_yaxis()
        plot.grid(axis="y", visible=False)
        plot.margins(x=0.1)
        plot.set_xlabel("1: as fast as ours; to the right, ours is faster")
        plot.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return "ratios"


def throughput(rounds: Sequence[Round], servers: Sequence[str], folder: Path) -> str:
    """Right answers a second, and p99, against connections."""
    title = "Closed loop: one 32x32 PNG per request"
    with chart(folder, "throughput", title, 1, 2, figsize=(10.5, 4.3)) as axes:
        rate, tail = axes[0]
        values: list[tuple[Axes, str, Callable[[ClosedLoop], float]]] = [
            (rate, "right answers a second", lambda run: run.rate),
            (tail, "p99 latency, ms", lambda run: run.p99_ms),
        ]
        for plot, title, value in values:
            for name in servers:
                points = [median(map(value, turns_of(rounds, name, many))) for many in CONNECTIONS]
                draw_line(plot, name, CONNECTIONS, points)
            plot.set(title=title, xlabel="connections", xscale="log")
            plot.set_xticks(CONNECTIONS, [str(many) for many in CONNECTIONS], minor=False)
            plot.minorticks_off()
        rate.set_ylim(bottom=0)
        scale_by_ratio(tail)
        tail.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return "throughput"


def latency(runs: dict[str, list[OpenLoop]], folder: Path) -> str:
    """Percentiles of latency, counted from the scheduled moment, against the rate that was offered."""
    with chart(
        folder, "latency", "Open loop: latency from the scheduled moment", 1, 2, figsize=(10.5, 4.3), sharey=True
    ) as axes:
        for plot, what in zip(axes[0], ("p50_ms", "p99_ms"), strict=True):
            for name, points in runs.items():
                offered = [run.offered for run in points]
                times = [getattr(run, what) for run in points]  # None, where nothing was answered, is a gap
                draw_line(plot, name, offered, times)
            plot.set(title=what.replace("_ms", ", ms"), xlabel="requests offered a second", xlim=(0, None))
            scale_by_ratio(plot)
        axes[0, 1].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return "latency"


def draw_line(plot: Axes, server: str, x: Sequence[float], y: Sequence[float]) -> None:
    plot.plot(x, y, "o-", color=_COLOURS[server], label=_NAMES[server], zorder=3 if server == OURS else 2)


def scale_by_ratio(plot: Axes) -> None:
    """A logarithmic axis with plain numbers."""
    plot.set_yscale("log")
    plot.autoscale(axis="y")
    plot.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    plot.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    plot.yaxis.set_minor_formatter(NullFormatter())


def draw_growth(growth: Growth, folder: Path) -> list[str]:
    """Images a second above, p50 and p99 below, one column for each curve; no times where refusals are among them."""
    curves = growth.curves
    with chart(folder, "growth", "How cost grows", 2, len(curves), figsize=(3.6 * len(curves) + 0.6, 6.2)) as axes:
        for column, (name, points) in enumerate(curves.items()):
            places = range(len(points))
            line = "o" if name == "model" else "o-"
            above, below = axes[0, column], axes[1, column]
            above.plot(places, [point.images_per_second for point in points], line, color=_COLOURS[OURS])
            for percentile, colour in (("p99", _COLOURS[OURS]), ("p50", light("soft"))):
                times = [math.nan if point.refused else getattr(point, f"{percentile}_ms") for point in points]
                below.plot(places, times, line, color=colour, label=percentile)
            above.set(title=PARTS[name].partition(";")[0].partition(",")[0])
            above.set_xticks(places, [])
            tilted = {"rotation": 30, "ha": "right"} if name == "model" else {}
            below.set_xticks(places, [point.value for point in points], **tilted)
            for plot in (above, below):
                plot.margins(0.15)
                plot.set_xlim(-0.3, len(points) - 0.7)
                plot.set_ylim(0, 1.1 * plot.dataLim.y1)
            if name == "images":  # the times of one image and of a thousand do not fit on a linear scale
                scale_by_ratio(below)
        axes[0, 0].set_ylabel("images a second")
        axes[1, 0].set_ylabel("latency of a request, ms")
        axes[1, 0].legend()
    return ["growth"]
