"""GET /docs: what the document says, for people."""

import re
from html import unescape
from html.parser import HTMLParser

import httpx
import pytest
from described import Description, resolve

from serving.page.files import FILES

VOID = {"meta", "link", "br", "input", "img"}
OPTIONAL_END = {"html", "body", "head", "meta"}


class Outline(HTMLParser):
    """The page as a reader with a screen reader meets it."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.landmarks: list[str] = []
        self.unlabelled: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in VOID | OPTIONAL_END:
            self.open.append(tag)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        if tag in ("main", "nav", "header"):
            self.landmarks.append(tag)
        if "id" in values:
            self.ids.append(values["id"] or "")
        if tag == "a":
            self.links.append(values.get("href") or "")
        if tag == "button" and not values.get("aria-label"):
            self.unlabelled.append(tag)
        if tag == "pre" and values.get("tabindex") != "0":
            self.unlabelled.append(tag)  # what scrolls must be reached by the keyboard

    def handle_endtag(self, tag: str) -> None:
        if tag not in OPTIONAL_END:
            assert self.open.pop() == tag


@pytest.fixture
def page(client: httpx.Client) -> str:
    response = client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    return response.text


@pytest.fixture
def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    return found


def test_it_says_all_that_the_document_says(client: httpx.Client, page: str) -> None:
    description: Description = client.get("/docs.json").json()
    sections = dict(re.findall(r'(?s)<section id="(\w+)".*?>(.*?)</section>', page))
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            section = sections.pop(operation["operationId"])
            text = shown(section)
            assert f"{method.upper()} {path}" in text
            assert operation["summary"] in text
            assert re.findall(r"<dt><b>(\d+)</b></dt>", section) == list(operation["responses"])
            for status, answer in operation["responses"].items():
                assert f"{status}{resolve(answer, description)['description']}".replace("`", "") in text
            for sample in operation["x-codeSamples"]:
                assert sample["source"] in text
            for parameter in operation.get("parameters", []):
                assert f"{parameter['name']} " in text
                assert parameter["description"] in text
            for media_type in operation.get("requestBody", {}).get("content", {}):
                assert media_type in text
    assert not sections


def shown(html: str) -> str:
    return unescape(re.sub(r"<[^>]+>", "", html))


def test_it_can_be_read_without_eyes_or_a_mouse(page: str, outline: Outline) -> None:
    assert '<html lang="en">' in page
    assert outline.open == []
    assert outline.headings[0] == 1
    assert all(after - before <= 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert outline.landmarks == ["header", "nav", "main"]
    assert outline.unlabelled == []
    assert len(set(outline.ids)) == len(outline.ids)


def test_its_links_lead_somewhere(client: httpx.Client, outline: Outline) -> None:
    inside = {link.removeprefix("#") for link in outline.links if link.startswith("#")}
    assert inside <= set(outline.ids)
    outside = {link for link in outline.links if not link.startswith("#")}
    assert outside == {"./", "docs.json", "models"}
    for link in outside:
        assert client.get(f"/{link.removeprefix('./')}").status_code == 200


def test_it_reads_alike_in_the_dark_and_on_a_phone(page: str) -> None:
    assert 'name="viewport" content="width=device-width' in page
    assert "color-scheme: light dark" in FILES["/page/look.css"].read_text()
    for path in (path for path in FILES if path.endswith(".css")):
        style = re.sub(r"(?s)@supports not .*?\n}\n|light-dark\([^)]*\)|mask: [^;]*;", "", FILES[path].read_text())
        assert not re.search(r"#[0-9a-fA-F]{3,8}\b(?=[;,)\s])", style), f"{path} has a colour for one scheme only"


def test_the_first_page_leads_to_it(client: httpx.Client) -> None:
    assert 'href="docs"' in client.get("/").text
