"""What README.md, docs/ and the model cards point at within the project is there."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from conftest import MODELS, ROOT
from documents import DOCUMENTS, anchors, links

PAGES = [*DOCUMENTS, ROOT / "CHANGELOG.md", *sorted(MODELS.glob("[!.]*/README.md"))]


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_within_the_project_arrive(document: Path) -> None:
    for link in links(document):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            assert parts.scheme in ("http", "https"), link
            continue
        target = (document.parent / parts.path).resolve() if parts.path else document
        assert target.exists(), link
        assert target.is_relative_to(ROOT.resolve()), link
        if parts.fragment:
            assert parts.fragment in anchors(target), link


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        document = ahead.pop()
        reached.add(document.resolve())
        found = {(document.parent / urlsplit(link).path).resolve() for link in links(document) if "://" not in link}
        ahead += [path for path in found - reached if path.suffix == ".md" and path.is_file()]
    assert {path.resolve() for path in DOCUMENTS} <= reached
