"""The tables of docs/operations.md say what the code does."""

import json
import re
from pathlib import Path

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


def test_every_field_of_a_line_is_in_the_table() -> None:
    table = TEXT[TEXT.index("| field |") : TEXT.index("A line has no picture")]
    written = set(re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in table.strip().splitlines())))
    whole = Trace(b"id", status=504, code="x", receive=0.1, decode=0.1, queue=0.1, inference=0.1)
    assert written == set(json.loads(line(whole, "", "refused", suppressed=1)))


def test_the_line_that_is_shown_has_fields_of_the_table() -> None:
    (shown,) = re.findall(r"^```json\n(\{\"time\".*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    whole = Trace(b"id", status=504, code="x", receive=0.1, decode=0.1, queue=0.1)
    assert set(json.loads(shown)) <= set(json.loads(line(whole, "", "refused", suppressed=1))) | {"inference_seconds"}


def test_the_settings_are_those_of_the_code() -> None:
    table = TEXT[TEXT.index("| variable |") : TEXT.index("Host and port")]
    rows = [re.match(r"\| (`CIFAR_[^|]+) \| ([^|]+) \|", row) for row in table.splitlines()[2:]]
    written = {name: row[2] for row in rows if row for name in re.findall(r"`CIFAR_(\w+)`", row[1])}
    assert written == {name.upper(): default(name) for name in Settings.model_fields}


def default(name: str) -> str:
    """A setting's default, as the table has it."""
    value = getattr(Settings(), name)
    match value:
        case None | "":
            return "none"
        case bool():
            return f"`{value}`".lower()
        case int() | float():
            return f"{value:,.10g}"
    return f"`{value.name if isinstance(value, Path) else value}`"


def test_the_limits_of_the_log_are_those_of_the_code() -> None:
    assert f"at most {RATE:.0f} times a second in each worker, after {BURST} at once" in " ".join(TEXT.split())
