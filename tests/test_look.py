"""The page, the reports and the charts look like one thing."""

import re

import pytest
from conftest import ROOT

from bench import charts
from bench.serving.server import OURS
from training.charts import ACCENT, SOFT, UNSURE, chart
from training.look import COLOURS, FONTS, light

LOOK = (ROOT / "serving" / "page" / "look.css").read_text()
DRAWING = (ROOT / "docs" / "how-it-works.svg").read_text()


def declared(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): ([^;]+);", css))


@pytest.mark.parametrize("name", COLOURS)
def test_a_colour_of_reports_is_that_of_the_page(name: str) -> None:
    assert declared(LOOK)[name] == f"light-dark({', '.join(COLOURS[name])})"


@pytest.mark.parametrize("name", FONTS)
def test_a_font_of_reports_is_that_of_the_page(name: str) -> None:
    assert declared(LOOK)[name] == FONTS[name]


def test_the_drawing_has_the_colours_of_the_page() -> None:
    bright, dark = (declared(rule) for rule in re.findall(r"svg \{([^}]*)\}", DRAWING))
    assert bright.keys() == dark.keys()
    for name in bright:
        assert declared(LOOK)[name] == f"light-dark({bright[name]}, {dark[name]})"


def test_a_chart_of_a_report_has_no_colour_of_its_own() -> None:
    with chart(4, 3) as (axes, svg):
        for colour in (ACCENT, SOFT, UNSURE):
            axes.plot([0, 1], [0, 1], color=colour, label="a line")
        axes.legend()
    assert re.findall(r"#[0-9a-f]{6}", svg[0]) == []
    assert {"currentColor", "var(--accent)", "var(--soft)", "var(--unsure)"} <= set(
        re.findall(r"currentColor|var\(--\w+\)", svg[0])
    )


def test_benchmarks_are_drawn_on_the_page_s_paper_in_its_ink() -> None:
    assert light("ink") == charts._INK
    assert charts._COLOURS[OURS] == light("accent")
