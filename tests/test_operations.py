"""The tables of docs/operations.md say what the code does."""

import json
import re

from conftest import ROOT

from serving.observing.flood import BURST, RATE
from serving.observing.log import line
from serving.observing.metrics import FAMILIES
from serving.observing.trace import Trace
from serving.settings import Settings

TEXT = (ROOT / "docs" / "operations.md").read_text()


def test_every_metric_is_in_the_table_with_its_kind_and_labels() -> None:
    rows = re.findall(r"^\| `(cifar_\w+)` \| (\w+) \| ([^|]*)\|", TEXT, re.MULTILINE)
    written = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert len(written) == len(rows)
    assert written == {
        name: ("histogram" if family.bounds else "gauge" if family.live else "counter", family.labels)
        for name, family in FAMILIES.items()
    }


def test_the_queries_ask_for_metrics_and_labels_that_there_are() -> None:
    queries = re.findall(r"^```promql\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert len(queries) >= 3
    for query in queries:
        names = set(re.findall(r"cifar_\w+", query))
        assert names
        for name in names:
            family = FAMILIES[re.sub(r"_(bucket|sum|count)$", "", name)]
            assert bool(family.bounds) == (family.name != name)
            for selector in re.findall(rf"{name}{{([^}}]*)}}", query):
                assert set(re.findall(r"(\w+)=", selector)) <= set(family.labels)


def test_every_field_of_a_line_is_in_the_table() -> None:
    table = TEXT[TEXT.index("| field |") : TEXT.index("A line has no picture")]
    written = set(re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in table.strip().splitlines())))
    whole = Trace(b"id", status=504, code="x", receive=0.1, decode=0.1, queue=0.1, inference=0.1)
    assert written == set(json.loads(line(whole, "", "refused", suppressed=1)))


def test_the_settings_and_limits_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `CIFAR_(\w+)` \| ([\d.]+) \|", TEXT, re.MULTILINE)
    assert {name.lower(): float(value) for name, value in rows} == {
        name: getattr(Settings(), name) for name in Settings.model_fields if name.startswith("log_")
    }
    assert f"at most {RATE:.0f} times a\nsecond in each worker, after {BURST} at once" in TEXT
