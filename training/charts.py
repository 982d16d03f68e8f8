"""The pictures of a report, as SVG that takes the page's own colours."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from cifar_models.metrics import BINS, Reliability
from training.run import EpochMetrics

# Text and axes are drawn in a colour that nothing else has, which becomes the page's own: light or dark.
_INK = "#010203"
BLUE, ORANGE, GREY = "#4477dd", "#dd7733", "#888888"
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


@contextmanager
def chart(width: float, height: float) -> Iterator[tuple[Axes, list[str]]]:
    """Axes to draw on, and a list that holds the SVG text afterwards."""
    svg: list[str] = []
    with matplotlib.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
        yield axes, svg
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        plt.close(figure)
    text = buffer.getvalue()
    svg.append(text[text.index("<svg") :].replace(_INK, "currentColor"))


def curves(history: Sequence[EpochMetrics], what: Literal["loss", "accuracy"], *, chosen: int) -> str:
    """Loss or accuracy of training and validation, epoch by epoch, with the epoch that was chosen."""
    epochs = [metrics.epoch for metrics in history]
    with chart(5.5, 3) as (axes, svg):
        for split, colour in (("train", BLUE), ("validation", ORANGE)):
            axes.plot(epochs, [getattr(metrics, f"{split}_{what}") for metrics in history], color=colour, label=split)
        axes.axvline(chosen, color=GREY, linewidth=0.8)
        axes.set(xlabel="epoch", ylabel=what)
        axes.legend()
    return svg[0]


def learning_rate_curve(history: Sequence[EpochMetrics]) -> str:
    with chart(5.5, 2) as (axes, svg):
        axes.plot([metrics.epoch for metrics in history], [metrics.lr for metrics in history], color=BLUE)
        axes.set(xlabel="epoch", ylabel="learning rate", ylim=(0, None))
    return svg[0]


def reliability_diagram(bins: Reliability) -> str:
    """Accuracy over confidence; bars on the diagonal are honest."""
    with chart(4, 3.5) as (axes, svg):
        centres = (np.arange(BINS) + 0.5) / BINS
        axes.bar(centres, bins.accuracy, width=0.9 / BINS, color=BLUE)
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--")
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    return svg[0]


def confusion_chart(counts: Any, classes: Sequence[str]) -> str:
    """Share of each label's images (row) by the answer that they got (column), in percent."""
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    with chart(6, 5.2) as (axes, svg):
        axes.imshow(np.where(np.eye(len(classes), dtype=bool), 0, shares) ** 0.5, cmap="Oranges", vmin=0, alpha=0.8)
        for row, column in np.ndindex(*shares.shape):
            if shares[row, column] >= 0.05:
                axes.text(column, row, f"{shares[row, column]:.1f}", ha="center", va="center", fontsize=7)
        axes.set_xticks(range(len(classes)), list(classes), rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), list(classes))
        axes.set(xlabel="answer", ylabel="label")
    return svg[0]
