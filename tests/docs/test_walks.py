"""A reader who does only what a document says comes to what it shows."""

from pathlib import Path

import pytest
from walks import WALKS, Walk, follow


@pytest.mark.parametrize("walk", WALKS, ids=str)
def test_a_document_can_be_followed(walk: Walk, tiny_data: Path, tmp_path: Path) -> None:
    follow(walk, tmp_path, tiny_data)
