"""Every query in docs/ and on the dashboard asks for what a server really exposes."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from conftest import ROOT, ServerProcess
from documents import BLOCKS
from metrics_text import Figures

from serving.errors import Refusal
from serving.observing.metrics import FAMILIES

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana.json").read_text())
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
WRITTEN = [block.code for block in BLOCKS if block.language == "promql"]
QUERIES = [*WRITTEN, *(target["expr"] for target in TARGETS)]
OF_PROMETHEUS = {"instance", "job"}  # labels that it adds to what it scrapes
_NAME = re.compile(r"\bcifar_\w+")


@pytest.fixture(scope="module")
def figures(server: ServerProcess) -> Figures:
    """After an answer and a refusal, so that every series is there."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        picture = (ROOT / "docs" / "ship.png").read_bytes()
        assert client.post("/classify", files={"images": picture}).status_code == 200
        assert client.post("/classify", files={"images": b"no picture"}).status_code == 400
        return Figures(client)


def labels(figures: Figures, name: str) -> set[str]:
    return {label for series in figures.values if series.name == name for label, _ in series.labels}


def aggregations(query: str) -> Iterator[set[str]]:
    """The labels of every `by (...)`."""
    yield from ({label.strip() for label in found.split(",")} for found in re.findall(r"\bby \(([^)]*)\)", query))


def carried(figures: Figures, query: str) -> set[str]:
    """Labels that the left side of a match is given by the right one, which has them."""
    matches = re.findall(r"\bgroup_left \((\w+)\) (cifar_\w+)", query)
    return {label for label, name in matches if label in labels(figures, name)}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_names_series_and_labels_that_there_are(figures: Figures, query: str) -> None:
    names = set(_NAME.findall(query))
    assert names
    for name in names:
        assert name in {series.name for series in figures.values}
        selectors = re.findall(rf"\b{name}{{([^}}]*)}}", query)
        asked = {label for selector in selectors for label in re.findall(r"(\w+)=", selector)}
        assert asked <= labels(figures, name) | OF_PROMETHEUS
        for grouped in aggregations(query):
            assert grouped <= labels(figures, name) | carried(figures, query) | OF_PROMETHEUS


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_takes_rates_of_what_only_grows(figures: Figures, query: str) -> None:
    grows = {
        sample.name
        for family in figures.families.values()
        if family.type in ("counter", "histogram")
        for sample in family.samples
    }
    in_rate = set(re.findall(r"(?:rate|increase)\((cifar_\w+)", query))
    assert {name for name in _NAME.findall(query) if name in grows} == in_rate


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_joins_by_all_that_prometheus_adds(query: str) -> None:
    """By some of it, a server that two jobs scrape has no partner but two, which is an error."""
    assert not re.search(r"\bon\s*\(", query)


def test_a_code_that_a_query_asks_for_is_one_of_ours() -> None:
    codes = {refusal.code for refusal in Refusal.__subclasses__()}
    asked = {code for query in QUERIES for found in re.findall(r'code=~"([^"]*)"', query) for code in found.split("|")}
    assert asked
    assert asked <= codes


def test_the_dashboard_shows_every_metric() -> None:
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for target in TARGETS for name in _NAME.findall(target["expr"])}
    assert shown == set(FAMILIES)


def test_the_dashboard_is_one_that_grafana_can_lay_out() -> None:
    panels, variables = DASHBOARD["panels"], {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert len({panel["id"] for panel in panels}) == len(panels)
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(panels))) - {"__rate_interval"}
    assert used == variables
    taken = [
        (column, row)
        for place in (panel["gridPos"] for panel in panels)
        for column in range(place["x"], place["x"] + place["w"])
        for row in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken), "panels lie over each other"
    assert max(column for column, _ in taken) < 24
    for panel in panels:
        assert panel["title"]
        assert panel["description"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
