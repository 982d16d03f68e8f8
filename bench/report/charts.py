"""The report's pictures: SVG files that can be read on any page, light or dark."""

from pathlib import Path

import numpy as np

from bench.report.corruptions import CORRUPTIONS
from bench.report.measure import MeasuredBundle
from cifar_models.atomic import saving
from training.charts import SOFT, chart, confusion_chart, reliability_diagram
from training.look import light

# Of equal lightness, and told apart by those who do not see all colours (Okabe and Ito 2008).
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9")


def write_charts(measured: MeasuredBundle, folder: Path) -> dict[str, str]:
    """Write the bundle's pictures into `folder`; their file names by what they show."""
    name, labels = measured.bundle.folder.name, measured.bundle.manifest.labels
    served = measured.served
    pictures = {
        "confusion": confusion_chart(np.array(served.test.confusion), labels),
        "reliability": reliability_diagram(served.reliability),
        "robustness": robustness_chart(measured.robustness, served.test.accuracy, chance=1 / len(labels)),
    }
    files = {what: f"{name}-{what}.svg" for what in pictures}
    for what, svg in pictures.items():
        write_svg(folder / files[what], svg)
    return files


def robustness_chart(robustness: dict[str, list[float]], clean: float, *, chance: float) -> str:
    """Accuracy over severity, in percent, a line for each corruption; severity 0 is the image as it is."""
    with chart(7, 3.8) as (axes, svg):
        for (name, accuracies), colour in zip(robustness.items(), _COLOURS, strict=True):
            axes.plot(range(1 + len(accuracies)), 100 * np.array([clean, *accuracies]), "o-", color=colour, label=name)
        axes.axhline(100 * chance, color=SOFT, linestyle=":", linewidth=1)
        severities = max(len(corruption.severities) for corruption in CORRUPTIONS.values())
        axes.set_xticks(range(1 + severities), ["as it is", *map(str, range(1, 1 + severities))])
        axes.set(xlabel="severity", ylabel="test accuracy, %", ylim=(0, 100))
        axes.grid(axis="y", color=SOFT, alpha=0.25)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return svg[0]


def write_svg(path: Path, svg: str) -> None:
    """Store a chart of a page as a file of its own: an image takes no colours from the page around it."""
    named = "".join(f"; --{name}: {light(name)}" for name in ("accent", "unsure", "soft"))
    style = f"background: {light('sheet')}; color: {light('ink')}{named}"
    with saving(path) as partial:
        partial.write_text(svg.replace("<svg ", f'<svg style="{style}" ', 1) + "\n")
