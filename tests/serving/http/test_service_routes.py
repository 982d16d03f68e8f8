"""What the server answers besides POST /classify: health, descriptions, the page; and BentoML's own client."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from bodies import DEFAULT, LABELS, encode, pictures, post, raw
from conftest import MODELS, ServerProcess

from cifar_models.bundle import read_manifest
from cifar_models.manifest import Manifest
from serving.page.files import FILES, MEDIA_TYPES

SHIPPED = sorted(path.parent.name for path in MODELS.glob("[!.]*/manifest.json"))
LOADING = {"src", "srcset", "poster", "data", "background", "action", "formaction"}


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/schema.json"])
def test_bentoml_answers_its_own_paths(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200


def test_the_schema_of_bentoml_names_classify_and_its_parameters(client: httpx.Client) -> None:
    (route,) = client.get("/schema.json").json()["routes"]
    assert route["route"] == "/classify"
    assert set(route["input"]["properties"]) == {"images", "model", "top_k", "strict", "pixels"}
    assert route["input"]["required"] == ["images"]
    assert set(route["output"]["properties"]) == set(post(client, raw(pictures(1))).json())


def test_the_models_are_listed_with_their_manifests(client: httpx.Client) -> None:
    listed = client.get("/models").json()
    assert listed["failed"] == []
    assert [model["name"] for model in listed["models"]] == SHIPPED
    assert [model["name"] for model in listed["models"] if model["default"]] == [DEFAULT]
    for model in listed["models"]:
        manifest = Manifest.model_validate(model["manifest"])
        stated = read_manifest(MODELS / model["name"])
        assert manifest == stated.model_copy(update={"license": "Apache-2.0"})  # whether its schema knew it or not
        assert model["version"] in {artifact.sha256[:12] for artifact in manifest.artifacts}


@pytest.mark.parametrize("path", ["/", *FILES])
def test_a_file_that_the_client_has_already_is_not_sent_again(client: httpx.Client, path: str) -> None:
    first = client.get(path)
    assert first.headers["accept-ranges"] == "none"
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = client.get(path, headers={"If-None-Match": '"another"'})
    assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize("path", ["/", *FILES])
@pytest.mark.parametrize("wanted", ["bytes=0-9", "bytes=999999-", "x"])
def test_a_file_is_answered_whole_whatever_part_is_wanted(client: httpx.Client, path: str, wanted: str) -> None:
    response = client.get(path, headers={"Range": wanted})
    assert response.status_code == 200
    assert response.content == client.get(path).content


@pytest.mark.parametrize(("path", "status"), [("/classify", 405), ("/livez", 200), ("/nope", 404)])
def test_who_offers_to_speak_websocket_is_answered_in_http(client: httpx.Client, path: str, status: int) -> None:
    offer = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "a"}
    response = client.get(path, headers=offer)
    assert response.status_code == status
    assert response.headers["x-request-id"]


class Resources(HTMLParser):
    """Collects the addresses that a browser would load by itself, and the text of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        loading = LOADING | ({"href"} if tag in ("link", "base", "use", "image") else set())
        self.addresses += [value or "" for name, value in attrs if name in loading]
        self.addresses += re.findall(r"url\(([^)]*)\)", dict(attrs).get("style") or "")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] in ("script", "style"):
            self.addresses += re.findall(r"""["'`(]\s*((?:https?:)?//\w[^"'`)]*)""", data)


@pytest.mark.parametrize("path", sorted(FILES))
def test_the_files_of_the_pages_are_what_browsers_take_them_for(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.content) == (200, FILES[path].read_bytes())
    assert response.headers["content-type"].partition(";")[0] == MEDIA_TYPES[FILES[path].suffix]
    assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_may_load_from_this_server_only(client: httpx.Client, path: str) -> None:
    policy = client.get(path).headers["content-security-policy"].split("; ")
    rules = {name: sources for name, *sources in map(str.split, policy)}
    assert rules["default-src"] == ["'none'"]
    assert {source for sources in rules.values() for source in sources} <= {"'none'", "'self'", "blob:"}


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_loads_nothing_from_another_host(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    page = Resources()
    page.feed(response.text)
    assert "title" in page.tags
    foreign = re.compile(r"""["']?\s*(https?:)?//""")
    namespace = "http://www.w3.org/"  # names of SVG and XLink, which nobody loads
    assert [found for found in page.addresses if foreign.match(found) and not found.startswith(namespace)] == []


@pytest.mark.parametrize("path", ["/", "/models", "/docs", "/docs.json"])
def test_what_can_be_got_can_be_asked_for_its_head(client: httpx.Client, path: str) -> None:
    response = client.head(path)  # RFC 9110, 9.1: every server must support GET and HEAD
    assert (response.status_code, response.content) == (200, b"")


CLIENT = """
import json, sys, bentoml
from pathlib import Path
with bentoml.SyncHTTPClient(sys.argv[1]) as client:
    images = [Path(name) for name in sys.argv[2:]]
    asked = ({"top_k": 2}, {}, {"model": "cifarnet", "top_k": None}, {"model": None, "strict": True})
    print(json.dumps([client.classify(images=images, **options) for options in asked]))
"""


def test_the_client_of_bentoml_can_call_classify(client: httpx.Client, server: ServerProcess, tmp_path: Path) -> None:
    images = pictures(2)
    files = [tmp_path / "0.png", tmp_path / "1.png"]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(encode(image))
    done = subprocess.run(  # its imports warn of deprecations, which would be errors here
        [sys.executable, "-c", CLIENT, server.url, *files], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    best, everything, *the_same = json.loads(done.stdout)
    assert best == post(client, raw(images), top_k=2).json()
    assert everything == post(client, raw(images)).json()
    assert the_same == [everything, everything]
    assert list(everything["predictions"][0]["probabilities"]) == LABELS
