"""docs/benchmarks.md from the figures beside it, measuring nothing: python -m bench.page [--out docs]."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.charts import draw_growth, draw_serving
from bench.growth import Growth
from bench.growth import table as growth_table
from bench.output import read_figures
from bench.serving.report import Report
from bench.serving.server import ROOT
from bench.serving.table import origin, parts
from cifar_models.atomic import saving
from cifar_models.command import Parser, run_command
from cifar_models.errors import InputError
from export.figures import as_markdown

DOCS = ROOT / "docs"
PAGE, FIGURES = "benchmarks.md", "benchmarks"  # a folder of JSON and pictures beside the page


def main() -> None:
    parser = Parser(prog="python -m bench.page", description="docs/benchmarks.md from its figures.")
    parser.add_argument(
        "--out", type=Path, default=DOCS, help="folder of benchmarks.md and benchmarks/ (default: docs)"
    )
    write_page(parser.parse_args().out)


def write_page(out: Path) -> None:
    """Fill the tables and draw the pictures of what was measured; the rest of the page stays as it is."""
    figures = out / FIGURES
    path = out / PAGE if (out / PAGE).exists() else DOCS / PAGE
    page = path.read_text()
    if (figures / "serving.json").exists():
        report = read_figures(Report, figures / "serving.json", "bench.serving")
        page = fill(page, {"serving": f"Measured {origin(report.machine)}.", **parts(report)})
        page = fill(page, {f"picture {name}": picture(name) for name in draw_serving(report, figures)})
    if (figures / "growth.json").exists():
        growth = read_figures(Growth, figures / "growth.json", "bench.growth")
        page = fill(page, {"growth": f"Measured {origin(growth.machine)}, {growth.seconds:g} s for each point."})
        page = fill(page, {f"growth {name}": growth_table(name, points) for name, points in growth.curves.items()})
        page = fill(page, {f"picture {name}": picture(name) for name in draw_growth(growth, figures)})
    if (figures / "training.json").exists():
        page = fill(page, {"training": training(json.loads((figures / "training.json").read_text()))})
    with saving(out / PAGE) as partial:
        partial.write_text(page)


def fill(page: str, parts: Mapping[str, str]) -> str:
    """The page with each part between its marks, `<!-- NAME -->` and `<!-- /NAME -->`; what has no part stays.

    Raises InputError when a part has no marks in the page.
    """
    for name, text in parts.items():
        first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, opened, rest = page.partition(first)
        _, closed, after = rest.partition(last)
        if not (opened and closed):
            raise InputError(f"The page has no place {first.strip()} ... {last}; put these two lines there.")
        page = f"{before}{first}{text}\n{last}{after}"
    return page


def picture(name: str) -> str:
    return f"[![{name}]({FIGURES}/{name}.svg)]({FIGURES}/{name}.png)"


def training(found: dict[str, Any]) -> str:
    """Of what python -m bench.training measured: what was done, by which loop, how fast."""
    rows = [
        [what, name, f"{figures['images per second']:,.0f}", f"{figures['ratio']:.2f}"]
        for what, kinds in found.items()
        if what != "machine" and isinstance(kinds, dict)
        for name, figures in kinds.items()
    ]
    return (
        as_markdown([["", "loop", "images/s", "of the plain one's"], *rows])
        + f"\n\nMeasured {origin(found['machine'])}."
    )


if __name__ == "__main__":
    run_command(main)
