"""The tables of docs/http-api.md say what the code does; its examples are run by tests/docs/test_docs.py."""

import re

from conftest import ROOT

from serving import errors
from serving.settings import Settings

TEXT = (ROOT / "docs" / "http-api.md").read_text()


def test_every_refusal_is_in_the_table() -> None:
    rows = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", TEXT, re.MULTILINE))
    assert rows == {(str(refusal.status), refusal.code) for refusal in errors.Refusal.__subclasses__()}


def test_the_limits_are_those_of_the_settings() -> None:
    written = dict(re.findall(r"^\| [^|]+ \| ([\d,]+) \| `CIFAR_(\w+)` \|", TEXT, re.MULTILINE))
    assert len(written) == 4
    for value, name in written.items():
        assert float(value.replace(",", "")) == getattr(Settings(), name.lower())
    assert f"{Settings().max_queue:,} images may wait" in TEXT
