"""The pictures of a report, as SVG that takes the page's own colours."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from cifar_models.metrics import BINS, Reliability
from training.run import EpochMetrics

# Drawn in colours that nothing else has, which become the page's own: light or dark.
_INK, ACCENT, UNSURE, SOFT = "#010203", "#010204", "#010205", "#010206"
_OF_THE_PAGE = {_INK: "currentColor", ACCENT: "var(--accent)", UNSURE: "var(--unsure)", SOFT: "var(--soft)"}
_CURVE = (4.9, 2.8)  # inches: two side by side fill a page
_READABLE = 20  # labels: of more, neither names nor figures have room
_STRONGEST = 0.5  # of a cell's colour, for the figure in it to be read in light and dark
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,  # a label may hold dollar signs
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
        with warnings.catch_warnings():
            # Text stays text, which the reader's fonts draw.
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
        plt.close(figure)
    text = buffer.getvalue()
    for drawn, shown in _OF_THE_PAGE.items():
        text = text.replace(drawn, shown)
    svg.append(text[text.index("<svg") :])


def curves(history: Sequence[EpochMetrics], what: Literal["loss", "accuracy"], *, chosen: int) -> str:
    """Loss or accuracy of training and validation, epoch by epoch, with the epoch that was chosen."""
    epochs = [metrics.epoch for metrics in history]
    with chart(*_CURVE) as (axes, svg):
        for split, colour, line in (("train", SOFT, "--"), ("validation", ACCENT, "-")):
            values = [getattr(metrics, f"{split}_{what}") for metrics in history]
            axes.plot(epochs, values, line, color=colour, label=split)
        axes.axvline(chosen, color=SOFT, linewidth=0.8)
        axes.set(xlabel="epoch", ylabel=what)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()
    return svg[0]


def learning_rate_curve(history: Sequence[EpochMetrics]) -> str:
    with chart(*_CURVE) as (axes, svg):
        axes.plot([metrics.epoch for metrics in history], [metrics.lr for metrics in history], color=ACCENT)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel="learning rate", ylim=(0, None))
    return svg[0]


def reliability_diagram(bins: Reliability) -> str:
    """Accuracy over confidence; bars on the diagonal are honest."""
    with chart(4, 3.5) as (axes, svg):
        centres = (np.arange(BINS) + 0.5) / BINS
        axes.bar(centres, bins.accuracy, width=0.9 / BINS, color=ACCENT)
        axes.plot([0, 1], [0, 1], color=SOFT, linestyle="--")
        axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    return svg[0]


def confusion_chart(counts: Any, classes: Sequence[str]) -> str:
    """Share of each label's images (row) by the answer that they got (column), in percent; of many labels in colour."""
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    wrong = np.where(np.eye(len(classes), dtype=bool), 0, shares)
    strength = _STRONGEST * np.sqrt(wrong / max(wrong.max(), 1))  # the root, so that rare mistakes are seen too
    with chart(6, 5.2) as (axes, svg):
        axes.set(xlim=(-0.5, len(classes) - 0.5), ylim=(len(classes) - 0.5, -0.5), aspect="equal")
        for row, column in np.ndindex(*shares.shape):
            if strength[row, column]:
                cell = Rectangle(
                    (column - 0.5, row - 0.5), 1, 1, color=UNSURE, alpha=strength[row, column], linewidth=0
                )
                axes.add_patch(cell)
            if shares[row, column] >= 0.05 and len(classes) <= _READABLE:
                axes.text(column, row, f"{shares[row, column]:.1f}", ha="center", va="center", fontsize=7)
        if len(classes) <= _READABLE:
            axes.set_xticks(range(len(classes)), list(classes), rotation=45, ha="right")
            axes.set_yticks(range(len(classes)), list(classes))
        axes.set(xlabel="answer", ylabel="label")
    return svg[0]
