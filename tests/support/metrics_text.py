"""What GET /metrics says, as numbers."""

from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families


class Series(NamedTuple):
    """A sample's name and labels."""

    name: str
    labels: frozenset[tuple[str, str]]


class Figures:
    """All samples of one scrape."""

    def __init__(self, client: httpx.Client) -> None:
        response = client.get("/metrics")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
        self.families = {family.name: family for family in text_string_to_metric_families(response.text)}
        self.values = {
            Series(sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def total(self, name: str, **labels: str) -> float:
        """The sum of all series of this name that have these labels."""
        return sum(
            value for series, value in self.values.items() if series.name == name and labels.items() <= series.labels
        )


def grown(before: Figures, after: Figures, name: str, **labels: str) -> float:
    return after.total(name, **labels) - before.total(name, **labels)
