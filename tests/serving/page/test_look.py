"""The page, the reports and the charts look like one thing."""

import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from browsing import chromium, violations
from conftest import ROOT

from bench import charts
from bench.serving.server import OURS
from training.charts import ACCENT, SOFT, UNSURE, chart, confusion_chart
from training.look import COLOURS, FONTS, light
from training.page import page, section, table

LOOK = (ROOT / "serving" / "page" / "look.css").read_text()
DRAWING = (ROOT / "docs" / "how-it-works.svg").read_text()


def declared(css: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): ([^;]+);", css))


@pytest.mark.parametrize("name", COLOURS)
def test_a_colour_of_reports_is_that_of_the_page(name: str) -> None:
    assert declared(LOOK)[name] == f"light-dark({', '.join(COLOURS[name])})"


def test_browsers_that_know_one_scheme_only_get_the_light_one() -> None:
    (old,) = re.findall(r"(?s)@supports not \(color: light-dark.*?\n}\n", LOOK)
    both = {name: value for name, value in declared(LOOK).items() if value.startswith("light-dark(")}
    assert declared(old) == {name: value.removeprefix("light-dark(").split(",")[0] for name, value in both.items()}


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_breaks_no_rule_of_accessibility(tmp_path: Path, scheme: Literal["light", "dark"]) -> None:
    counts = np.array([[90, 10], [1, 99]])
    shown = section(
        "Labels",
        table(["label", *["interval"] * 6], [["cat", *["89.1 % to 90.9 %"] * 6]]),
        confusion_chart(counts, ["cat", "dog"]),
    )
    (tmp_path / "report.html").write_text(page("A report", shown, section("Pictures", note="None.")))
    with chromium() as browser:
        opened = browser.new_page(color_scheme=scheme)
        opened.goto((tmp_path / "report.html").as_uri())
        assert opened.evaluate("getComputedStyle(document.documentElement).backgroundColor") == rgb(scheme)
        assert violations(opened) == []
        opened.set_viewport_size({"width": 320, "height": 800})
        assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"


def rgb(scheme: str) -> str:
    """The paper's colour, as a browser computes it."""
    paper = COLOURS["paper"][scheme == "dark"]
    return f"rgb({', '.join(str(int(paper[place : place + 2], 16)) for place in (1, 3, 5))})"


def test_benchmarks_are_drawn_on_the_page_s_paper_in_its_ink() -> None:
    assert light("ink") == charts._INK
    assert charts._COLOURS[OURS] == light("accent")
